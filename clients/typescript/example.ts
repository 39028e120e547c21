// node dist/example.js http://localhost:3000 [MODEL]: draws, translates by a job that is followed, and is refused.

import { asForm, connect, follow } from "./client.js";

const [url = "http://localhost:3000", model] = process.argv.slice(2);
const client = connect(url);

const models = await client.GET("/v1/models");
const translator = models.data?.models.find((card) => card.can.includes("translate"));

const drawn = await client.POST("/v1/sample", {
  body: { n: 2, seed: 7, format: "png", ...(model === undefined ? {} : { model }) },
  headers: { Accept: "image/png" },
  parseAs: "blob",
});
if (drawn.data === undefined) throw new Error(drawn.error.error.message);
const picture = drawn.data as unknown as Blob; // OpenAPI has bytes as text

const submitted = await client.POST("/v1/jobs/translate", {
  body: { images: [picture as unknown as string], direction: "a_to_b", output: "json" },
  bodySerializer: (body) => asForm(body ?? {}),
});
if (submitted.data === undefined) throw new Error(submitted.error.error.message);
const { id } = submitted.data;
const names = new Set<string>();
const end = await follow(client, id, (name) => names.add(name));
const result = await client.GET("/v1/jobs/{id}/result", { params: { path: { id } }, parseAs: "json" });

const refused = await client.POST("/v1/sample", { body: { n: 0 } });

console.log(
  JSON.stringify({
    translator: translator?.name,
    seeds: drawn.response.headers.get("X-Seeds"),
    bytes: picture.size,
    state: end.state,
    events: [...names],
    result: result.response.status,
    refused: refused.error?.error.code,
  }),
);
