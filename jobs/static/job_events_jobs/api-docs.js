/** The schema of the API in Swagger UI, with the session of the user. */
import { pageConfig } from "./page-text.js";

const config = pageConfig();

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
