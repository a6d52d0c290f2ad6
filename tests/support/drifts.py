"""How Brex's description may change, each as an edit of the description."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

Node = dict[str, Any]
Drift = Callable[[Node], object]

REACTIVATE = "/v3/accounting/integration/{integration_id}/reactivate"
VENDORS = ["CAMPFIRE", "HANOVER_PARK", "RILLET"]
TEXT: Node = {"type": "string"}


def schema(description: Node, name: str) -> Node:
    found: Node = description["components"]["schemas"][name]
    return found


def drifted(description: Node, *drifts: Drift) -> Node:
    changed = copy.deepcopy(description)
    for drift in drifts:
        drift(changed)
    return changed


# Additive


def new_optional_field(description: Node) -> None:
    schema(description, "Integration")["properties"]["new_label"] = TEXT


def new_required_answer_field(description: Node) -> None:
    schema(description, "Integration")["properties"]["new_region"] = TEXT
    schema(description, "Integration")["required"].append("new_region")


def new_enum_value(description: Node) -> None:
    schema(description, "Integration")["properties"]["status"]["enum"].append("DRIFT_STATUS")


def new_error_code(description: Node) -> None:
    schema(description, "AccountingErrorResponse")["properties"]["error_code"]["enum"].append("DRIFT_CODE")


def new_query_parameter(description: Node) -> None:
    parameter = {"name": "new_filter", "in": "query", "schema": TEXT}
    description["paths"]["/v3/accounting/records"]["get"]["parameters"].append(parameter)


def new_operation(description: Node) -> None:
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/Integration"}}}
    operation = {
        "operationId": "newOperation",
        "tags": ["Accounting Integrations"],
        "security": [{"oauth2": ["accounting.integration.read"]}],
        "responses": {"200": {"description": "The integration", "content": answer}},
    }
    description["paths"]["/v3/accounting/new"] = {"get": operation}


ADDITIVE: dict[Drift, str] = {
    new_optional_field: "Integration.new_label (read): the property is new (string, optional)",
    new_required_answer_field: "Integration.new_region (read): the property is new (string, required)",
    new_enum_value: "Integration.status (read): the value DRIFT_STATUS is new",
    new_error_code: "AccountingErrorResponse.error_code (read): the value DRIFT_CODE is new",
    new_query_parameter: "queryAccountingRecords, query parameter new_filter: is new (optional)",
    new_operation: "newOperation: the operation is new (GET /v3/accounting/new)",
}

# Written in another way


def null_in_all_of(description: Node) -> None:
    for name, property_ in (
        ("AccountingRecordDetailed", "user"),
        ("AccountingRecordDetailed", "vendor"),
        ("AccountingRecordDetailed", "original_amount"),
        ("AccountingRecordLineItem", "original_amount"),
        ("AccountingErrorResponse", "details"),
    ):
        value = schema(description, name)["properties"][property_]
        value["allOf"].append({"nullable": value.pop("nullable"), "description": value.pop("description")})


def words_in_all_of(description: Node) -> None:
    amount = schema(description, "AccountingRecordDetailed")["properties"]["amount"]
    amount["allOf"].append({"description": amount.pop("description")})


def a_title(description: Node) -> None:
    schema(description, "User")["title"] = "A user"


def an_enum_with_the_name_of_its_class(description: Node) -> None:
    status = schema(description, "Integration")["properties"]["status"]
    description["components"]["schemas"]["IntegrationStatus"] = {"type": "string", "enum": status["enum"]}
    words = {"description": status["description"]}
    status.clear()
    status["allOf"] = [{"$ref": "#/components/schemas/IntegrationStatus"}, words]


REWRITTEN: list[Drift] = [null_in_all_of, words_in_all_of, a_title, an_enum_with_the_name_of_its_class]

# Such that the facade does not fit any more


def vendor_as_an_enum(description: Node) -> None:
    for name in ("Integration", "CreateIntegrationRequest"):
        schema(description, name)["properties"]["vendor"]["enum"] = VENDORS


def integration_id_renamed(description: Node) -> None:
    integration = schema(description, "Integration")
    integration["properties"]["id"] = integration["properties"].pop("integration_id")
    integration["required"] = ["id", *(name for name in integration["required"] if name != "integration_id")]


def details_not_nullable(description: Node) -> None:
    del schema(description, "AccountingErrorResponse")["properties"]["details"]["nullable"]


def operation_removed(description: Node) -> None:
    del description["paths"][REACTIVATE]


def operation_renamed(description: Node) -> None:
    description["paths"][REACTIVATE]["post"]["operationId"] = "resumeIntegration"


def property_renamed(description: Node) -> None:
    integration = schema(description, "Integration")
    integration["properties"]["new_account"] = integration["properties"].pop("vendor_account_id")
    integration["required"].remove("vendor_account_id")


def error_code_removed(description: Node) -> None:
    schema(description, "AccountingErrorResponse")["properties"]["error_code"]["enum"].remove("INTEGRATION_NOT_ACTIVE")


def detail_removed(description: Node) -> None:
    del schema(description, "AccountingErrorDetails")["properties"]["existing_vendor"]


def status_value_removed(description: Node) -> None:
    schema(description, "Integration")["properties"]["status"]["enum"].remove("DISABLED")


def new_required_request_field(description: Node) -> None:
    request = schema(description, "CreateIntegrationRequest")
    request["properties"]["new_region"] = TEXT
    request["required"].append("new_region")


def new_required_parameter(description: Node) -> None:
    parameters = description["paths"][REACTIVATE]["post"]["parameters"]
    parameters.append({"name": "reason", "in": "query", "required": True, "schema": TEXT})


def path_parameter_renamed(description: Node) -> None:
    operation = description["paths"].pop(REACTIVATE)
    operation["post"]["parameters"][0]["name"] = "id"
    description["paths"][REACTIVATE.replace("integration_id", "id")] = operation


def answer_of_another_schema(description: Node) -> None:
    media = description["paths"][REACTIVATE]["post"]["responses"]["200"]["content"]["application/json"]
    media["schema"] = {"$ref": "#/components/schemas/Vendor"}


def created_at_a_number(description: Node) -> None:
    schema(description, "Integration")["properties"]["created_at"] = {"type": "integer"}


def vendor_may_be_null(description: Node) -> None:
    schema(description, "Integration")["properties"]["vendor"]["nullable"] = True


def vendor_is_optional(description: Node) -> None:
    schema(description, "Integration")["required"].remove("vendor")


def schema_renamed(description: Node) -> None:
    text = json.dumps(description).replace('#/components/schemas/Integration"', '#/components/schemas/Link"')
    description.update(json.loads(text))
    description["components"]["schemas"]["Link"] = description["components"]["schemas"].pop("Integration")


def another_scope(description: Node) -> None:
    description["paths"][REACTIVATE]["post"]["security"] = [{"oauth2": ["accounting.admin"]}]


def another_scheme(description: Node) -> None:
    description["components"]["securitySchemes"]["key"] = {"type": "apiKey", "in": "header", "name": "X-Key"}
    description["paths"][REACTIVATE]["post"]["security"] = [{"oauth2": ["accounting.integration.write"], "key": []}]


def another_server(description: Node) -> None:
    description["servers"][0]["url"] = "https://api2.brex.com"


def a_server_of_its_own(description: Node) -> None:
    description["paths"][REACTIVATE]["servers"] = [{"url": "https://api.brex.com"}]


def accepted_for_later(description: Node) -> None:
    responses = description["paths"][REACTIVATE]["post"]["responses"]
    responses["202"] = responses["200"]


def body_in_parts(description: Node) -> None:
    body = description["paths"]["/v3/accounting/integration"]["post"]["requestBody"]
    body["content"] = {"multipart/form-data": body["content"]["application/json"]}


def answer_as_csv(description: Node) -> None:
    response = description["paths"]["/v3/accounting/records"]["get"]["responses"]["200"]
    response["content"] = {"text/csv": {"schema": {"type": "string"}}}


def another_error(description: Node) -> None:
    media = description["paths"][REACTIVATE]["post"]["responses"]["409"]["content"]["application/json"]
    media["schema"] = {"$ref": "#/components/schemas/Vendor"}


def a_write_that_is_a_delete(description: Node) -> None:
    description["paths"][REACTIVATE]["delete"] = description["paths"][REACTIVATE].pop("post")


def a_read_that_is_a_post(description: Node) -> None:
    item = description["paths"]["/v3/accounting/records/{record_id}"]
    item["post"] = item.pop("get")


MISFITS: dict[Drift, str] = {
    vendor_as_an_enum: "Integration.vendor has become an enum (CAMPFIRE, HANOVER_PARK, RILLET), and was free text",
    integration_id_renamed: "Integration.integration_id is gone (removed",
    details_not_nullable: "AccountingErrorResponse.details is no longer nullable",
    operation_removed: "The operation reactivateIntegration is gone, or has another operationId",
    operation_renamed: "The operation reactivateIntegration is gone, or has another operationId",
    property_renamed: "Integration.vendor_account_id is gone (removed, or renamed: new there ",
    error_code_removed: "The error code INTEGRATION_NOT_ACTIVE is gone",
    detail_removed: "AccountingErrorDetails.existing_vendor is gone",
    status_value_removed: "Integration.status no longer has the value DISABLED",
    new_required_request_field: "CreateIntegrationRequest requires new_region, which the facade does not send",
    new_required_parameter: "reactivateIntegration requires the new query reason parameter",
    path_parameter_renamed: "reactivateIntegration has no path integration_id parameter any more",
    answer_of_another_schema: "reactivateIntegration's success is Vendor",
    created_at_a_number: "Integration.created_at is integer now, and was string date-time",
    vendor_may_be_null: "Integration.vendor may be null now",
    vendor_is_optional: "Integration.vendor is no longer required",
    another_scope: "reactivateIntegration needs accounting.admin now: the facade sends a bearer token",
    another_scheme: "reactivateIntegration needs key now",
    another_server: "servers are https://api2.brex.com, https://api-staging.brex.com, and PRODUCTION (src/",
    a_server_of_its_own: "reactivateIntegration has servers of its own now",
    accepted_for_later: "reactivateIntegration may answer 202 now, which counts as done in",
    body_in_parts: "createIntegration's request body is CreateIntegrationRequest as multipart/form-data, and the",
    answer_as_csv: "queryAccountingRecords's success is string as text/csv, and the facade reads",
    another_error: "reactivateIntegration's answer 409 is Vendor, and the facade reads AccountingErrorResponse",
    a_write_that_is_a_delete: "reactivateIntegration is a DELETE now, and Brex ignores its Idempotency-Key",
    a_read_that_is_a_post: "getAccountingRecord is a POST now, and the facade treats it as a read (Records.get)",
    schema_renamed: "The schema Integration is gone, or has another name",
}
