// Server-sent events (WHATWG HTML, 9.2), read by fetch: EventSource could send no API key.

/** {name, data, id} of each event, as it comes; `data` from JSON. Throws where the connection breaks. */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop(); // an event is whole when an empty line ends it
      for (const part of parts) {
        const lines = part.split("\n").map((line) => line.split(/: ?(.*)/s));
        const { event, data, id } = Object.fromEntries(lines.filter(([name]) => name));
        if (event) yield { name: event, data: JSON.parse(data), id };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
