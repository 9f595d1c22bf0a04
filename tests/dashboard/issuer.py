"""An issuer of tokens at which everybody is signed in already: OpenID Connect's authorization code flow with PKCE."""

import base64
import hashlib
import http.server
import json
import threading
import time
import urllib.parse

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, USER, AUDIENCE = "millrace-dashboard", "ida", "product-factory"


class Issuer:
    """Serves `/authorize` and `/token`; `keys` is its JSON Web Key Set."""

    def __init__(self, tenant: str):
        self.tenant = tenant
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.codes = {}
        self.refused = False
        self.life = 600
        self.renewed = 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def keys(self) -> str:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return json.dumps({"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]})

    def token(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": AUDIENCE, "exp": now + 600, "iat": now, "realm": self.tenant,
            "preferred_username": USER, "scope": "openid batch", "groups": ["supervisor:pf"],
        }
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "one"})

    def exchange(self, form: dict) -> tuple[int, dict]:
        if form.get("grant_type") == "refresh_token" and form.get("refresh_token") == "again" and form.get("client_id") == CLIENT:
            self.renewed += 1
            return 200, {"access_token": self.token(), "token_type": "Bearer", "expires_in": 600}
        challenge = self.codes.pop(form.get("code"), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        given = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if form.get("client_id") != CLIENT or form.get("grant_type") != "authorization_code" or challenge != given:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": self.token(), "token_type": "Bearer", "expires_in": self.life, "refresh_token": "again"}

    def handler(issuer):  # noqa: N805
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                query = dict(urllib.parse.parse_qsl(urllib.parse.urlparse(self.path).query))
                back = {"state": query["state"]}
                if issuer.refused:
                    back |= {"error": "access_denied", "error_description": "You are not known here"}
                else:
                    assert query["response_type"] == "code" and query["code_challenge_method"] == "S256"
                    code = f"code-{len(issuer.codes)}-{time.monotonic_ns()}"
                    issuer.codes[code] = query["code_challenge"]
                    back["code"] = code
                self.send_response(302)
                self.send_header("location", f"{query['redirect_uri']}?{urllib.parse.urlencode(back)}")
                self.end_headers()

            def do_POST(self):
                form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
                status, body = issuer.exchange(form)
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("access-control-allow-origin", "*")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        return Handler
