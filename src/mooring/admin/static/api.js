// Asking the API. Errors carry the server's own sentence.

export class ApiError extends Error {
  constructor(status, word, detail) {
    super(detail);
    this.status = status;
    this.word = word;
  }
}

async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(`api/v1${path}`, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(15000),
    });
  } catch {
    throw new ApiError(0, "unreachable", "the server does not answer");
  }
  let told = {};
  try {
    told = await answer.json();
  } catch {
    // An answer without JSON is an error all the same.
  }
  if (!answer.ok) throw new ApiError(answer.status, told.error ?? "", told.detail ?? `status ${answer.status}`);
  return told;
}

export const get = (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return ask("GET", given.length ? `${path}?${new URLSearchParams(given)}` : path);
};

export const post = (path, body = {}) => ask("POST", path, body);
