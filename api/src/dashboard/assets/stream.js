// Follows a stream of events, and comes back to it where it was when it breaks.

import { EventReader } from "./sse.js";

const LONGEST_PAUSE = 30_000;
const FIRST_PAUSE = 1_000;

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });

/**
 * Calls `onEvent({event, data})` with parsed data until `signal`. `onState` is told "live", "away" (the server has no database) and "lost". Ends by itself when the server
 * says that nothing more will come (204), or that the caller may not read it.
 */
export async function follow(api, path, { onEvent, onState = () => {}, signal }) {
  let lastId = null;
  let wait = FIRST_PAUSE;
  while (!signal.aborted) {
    const reader = new EventReader();
    let stepped = false;
    try {
      const headers = { accept: "text/event-stream", ...(lastId === null ? {} : { "last-event-id": lastId }) };
      const response = await api.open("GET", path, { signal, headers });
      if (response.status === 204) return;
      onState("live");
      const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await pieces.read();
        if (done) break;
        wait = FIRST_PAUSE;
        for (const event of reader.push(value)) {
          if (event.remark !== undefined) {
            if (event.remark.startsWith("the database is away")) onState("away");
            if (event.remark.startsWith("the database is back")) onState("live");
            continue;
          }
          lastId = event.id ?? lastId;
          stepped = true;
          onEvent({ event: event.event, data: JSON.parse(event.data) });
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if ([401, 403, 404].includes(error.status)) {
        onState("refused", error);
        return;
      }
      onState("lost", error);
    }
    if (signal.aborted) return;
    // A stream that ended after it had told something ended on purpose: the server has a limit on their age.
    await pause(stepped ? reader.retry ?? wait : wait, signal);
    wait = Math.min(wait * 2, LONGEST_PAUSE);
  }
}
