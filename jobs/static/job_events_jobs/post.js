/**
 * Sends JSON to the API with the CSRF token of the page.
 *
 * @param {string} url
 * @param {Object} fields
 * @param {string} csrfHeader  Name of the header of the token.
 * @returns {Promise<{isDone: boolean, status: number, detail: string|undefined}>} `status` is 0 if the server did
 *   not answer; `detail` is the reason of a refusal, if it is known. A redirect to a login is a refusal.
 */
export async function postJson(url, fields, csrfHeader) {
  const token = document.querySelector("input[name=csrfmiddlewaretoken]")?.value ?? "";
  const headers = { "Content-Type": "application/json", [csrfHeader]: token };
  const body = JSON.stringify(fields);
  const answer = await fetch(url, { method: "POST", headers, body, redirect: "manual" }).catch(() => null);
  if (answer?.ok) return { isDone: true, status: answer.status, detail: undefined };
  const problem = await answer?.json().catch(() => null);
  return { isDone: false, status: answer?.status ?? 0, detail: problem?.detail };
}
