// Server-sent events, read from text as it comes. EventSource cannot send a credential, so the stream is read by fetch. Pure.

/** Takes pieces of a stream and gives the events that they complete, `{event, data, id}`, and the remarks between them, `{remark}`. */
export class EventReader {
  constructor() {
    this.rest = "";
    this.lines = [];
    this.lastId = null;
    this.retry = null;
  }

  /** What ends in this piece. */
  push(piece) {
    const events = [];
    this.rest += piece;
    let from = 0;
    for (;;) {
      const end = this.rest.slice(from).search(/\r\n|\n|\r(?!$)/);
      if (end < 0) break;
      const line = this.rest.slice(from, from + end);
      const two = this.rest.startsWith("\r\n", from + end);
      from += end + (two ? 2 : 1);
      if (line === "") {
        const event = this.#finish();
        if (event) events.push(event);
      } else if (line.startsWith(":")) {
        events.push({ remark: line.slice(1).trim() });
      } else {
        this.lines.push(line);
      }
    }
    this.rest = this.rest.slice(from);
    return events;
  }

  #finish() {
    let event = "message";
    const data = [];
    for (const line of this.lines) {
      const colon = line.indexOf(":");
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "event") event = value;
      else if (name === "data") data.push(value);
      else if (name === "id" && !value.includes("\0")) this.lastId = value;
      else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    }
    this.lines = [];
    return data.length > 0 ? { event, data: data.join("\n"), id: this.lastId } : null;
  }
}
