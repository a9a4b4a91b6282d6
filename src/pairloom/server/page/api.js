// The server's own interface: models, an answer piece by piece, and the replay of a decoding.

let key = ""; // of a server that asks for one; kept nowhere

export function useKey(value) {
  key = value;
}

/** What went wrong: `kind` is lost, busy, key or refused; `wait` the seconds after which trying again makes sense. */
export class Problem extends Error {
  constructor(kind, message = "", wait = 0) {
    super(message);
    this.kind = kind;
    this.wait = wait;
  }
}

async function ask(path, body, signal) {
  const headers = { ...(body && { "Content-Type": "application/json" }), ...(key && { Authorization: `Bearer ${key}` }) };
  const options = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal };
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw lost(error);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

const lost = (error) => (error.name === "AbortError" ? error : new Problem("lost"));

async function refusal(response) {
  const content = await response.json().catch(() => ({}));
  const message = content.error?.message ?? response.statusText;
  if (response.status === 401 || response.status === 403) return new Problem("key", message);
  const busy = [429, 502, 503, 504].includes(response.status);
  return new Problem(busy ? "busy" : "refused", message, Number(response.headers.get("Retry-After")) || (busy ? 2 : 0));
}

async function json(response) {
  try {
    return await response.json();
  } catch (error) {
    throw lost(error);
  }
}

export const models = async () => (await json(await ask("/models"))).models;

/** The replay of one decoding; see /openapi.json. */
export const explain = async (body, signal) => json(await ask("/explain", body, signal));

/** Calls `onPiece` with each piece of the answer; gives the whole of it. A stream that breaks off is a lost connection. */
export async function stream({ text, ...search }, onPiece, signal) {
  const response = await ask("/generate", { ...search, texts: [text], stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw lost(error);
    });
    if (done) throw new Problem("lost");
    const events = (waiting + value).split("\n\n");
    waiting = events.pop();
    for (const event of events) {
      const { name, content } = parsed(event);
      if (name === "piece") onPiece(content.text);
      if (name === "done") return content.text;
      if (name === "error") throw new Problem(content.code === "overloaded" ? "busy" : "refused", content.message, 2);
    }
  }
}

/** One server-sent event: the lines `event: NAME` and `data: JSON`. */
function parsed(event) {
  const fields = Object.fromEntries(event.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line]));
  const value = (name) => (fields[name] ?? `${name}:`).slice(name.length + 1).trim();
  return { name: value("event"), content: JSON.parse(value("data") || "{}") };
}
