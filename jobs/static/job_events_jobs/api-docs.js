/** The API's schema, to read and to try as who is logged in, by Swagger UI. */
import { pageConfig } from "./page-text.js";

const config = pageConfig();

window.SwaggerUIBundle({
  url: config.schemaUrl,
  domNode: document.getElementById("api-docs"),
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
  filter: true,
  validatorUrl: null, // it would send the schema to somebody
  requestInterceptor(request) {
    if (new URL(request.url, location.href).origin === location.origin) {
      request.headers[config.csrfHeader] = document.querySelector("[name=csrfmiddlewaretoken]").value;
    }
    return request;
  },
});
