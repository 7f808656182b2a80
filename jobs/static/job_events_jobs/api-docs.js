/** The schema of the API in Swagger UI, with the session of the user. */
import { pageConfig } from "./page-text.js";

const config = pageConfig();

/** An element of a description, without attributes. */
const PLAIN_TAG = /^<\/?(?:blockquote|br|code|em|h[1-6]|li|ol|p|pre|strong|table|tbody|td|th|thead|tr|ul)>/;

// Swagger UI inserts descriptions as HTML: all but plain elements become text.
globalThis.trustedTypes?.createPolicy("default", {
  createHTML: (html) => html.replace(/<[^<]*/g, (tag) => (PLAIN_TAG.test(tag) ? tag : `&lt;${tag.slice(1)}`)),
});

window.SwaggerUIBundle({
  url: config.schemaUrl,
  domNode: document.getElementById("api-docs"),
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  filter: true,
  validatorUrl: null, // it would send the schema to an external service
  requestInterceptor(request) {
    if (new URL(request.url, location.href).origin === location.origin) {
      request.headers[config.csrfHeader] = document.querySelector("[name=csrfmiddlewaretoken]").value;
    }
    return request;
  },
});
