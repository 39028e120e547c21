// The service's HTTP API with the types of its OpenAPI document. `schema.ts` is generated: make typescript

import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type JobView = components["schemas"]["JobView"];

/** A client of the service at `baseUrl`; `apiKey` where it asks for one. */
export const connect = (baseUrl: string, apiKey?: string) =>
  createClient<paths>({ baseUrl, headers: apiKey === undefined ? {} : { Authorization: `Bearer ${apiKey}` } });

export type Client = ReturnType<typeof connect>;

/** What `body` holds as a form, for endpoints that take files: lists of them under one name. */
export const asForm = (body: Record<string, unknown>): FormData => {
  const form = new FormData();
  for (const [name, value] of Object.entries(body))
    for (const one of Array.isArray(value) ? value : [value])
      if (one !== undefined) form.append(name, one instanceof Blob ? one : String(one));
  return form;
};

/** The job at its end. `told` gets the name and the data of each event. */
export const follow = async (
  client: Client,
  id: string,
  told: (name: string, data: unknown) => void,
): Promise<JobView> => {
  const { response } = await client.GET("/v1/jobs/{id}/events", { params: { path: { id } }, parseAs: "stream" });
  if (!response.ok || response.body === null) throw new Error(`The events are answered ${response.status}.`);
  let rest = "";
  for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
    const events = (rest + part).split("\n\n");
    rest = events.pop() ?? "";
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)?.[1];
      const data: unknown = JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? "null");
      if (name !== undefined) told(name, data);
      if (name === "end") return data as JobView;
    }
  }
  throw new Error("The stream broke: come back with Last-Event-ID.");
};
