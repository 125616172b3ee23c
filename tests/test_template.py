"""What must hold for every function, role, queue and table of template.yaml, also for those to come."""

from typing import Any

import pytest

from shared import settings
from tests.support.template import read_template

TEMPLATE = read_template()
GLOBALS = TEMPLATE["Globals"]["Function"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: body for name, body in TEMPLATE["Resources"].items() if body["Type"] == kind}


FUNCTIONS = of_type("AWS::Serverless::Function")
QUEUES = of_type("AWS::SQS::Queue")
TRACED = {"Submit", "Status", "Catalog", "Files", "Cancel", "Webhook"}  # by callers and by Replicate
XRAY = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
DEAD_LETTER_QUEUES = {name for name in QUEUES if name.endswith("DeadLetterQueue")}
SETTINGS = {"ReconcileFunction": settings.StartSettings}  # which needs no more than these, as all that starts do

each_function = pytest.mark.parametrize("function", FUNCTIONS)


def properties(function: str) -> dict[str, Any]:
    found: dict[str, Any] = FUNCTIONS[function]["Properties"]
    return found


def environment(function: str) -> dict[str, Any]:
    found: dict[str, Any] = properties(function)["Environment"]["Variables"]
    return found


def statements(function: str) -> list[dict[str, Any]]:
    role = TEMPLATE["Resources"][properties(function)["Role"]["Fn::GetAtt"][0]]["Properties"]
    assert "ManagedPolicyArns" not in role
    return [statement for policy in role["Policies"] for statement in policy["PolicyDocument"]["Statement"]]


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


@each_function
def test_a_function_is_named_after_its_folder(function: str) -> None:
    name = function.removesuffix("Function").lower()
    assert properties(function)["Handler"] == f"{name}.handler.handler"
    assert properties(function)["FunctionName"] == {"Fn::Sub": f"afterimage-${{Stage}}-{name}"}


@each_function
def test_a_function_gets_exactly_the_variables_that_its_settings_read(function: str) -> None:
    expected = SETTINGS.get(function) or getattr(settings, f"{function.removesuffix('Function')}Settings")
    assert {name.lower() for name in environment(function)} == set(expected.fields())


@each_function
def test_a_function_may_read_exactly_the_secrets_that_its_variables_name(function: str) -> None:
    named = {value["Fn::Sub"] for name, value in environment(function).items() if name.endswith("_PARAMETER")}
    readable = {
        resource["Fn::Sub"].partition(":parameter")[2]
        for statement in statements(function)
        if statement["Action"] == "ssm:GetParameters"
        for resource in listed(statement["Resource"])
    }
    assert readable == named


@each_function
def test_a_role_lists_single_actions_on_named_resources(function: str) -> None:
    for statement in statements(function):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in listed(statement["Action"]))
        if statement["Action"] == XRAY:
            assert statement["Resource"] == "*"  # it has no resources
            continue
        for resource in listed(statement["Resource"]):
            # Only objects are many; they are below one prefix.
            assert set(resource) <= {"Fn::GetAtt", "Fn::Sub"}
            assert "*" not in str(resource).removesuffix("/*'}")


@each_function
def test_a_function_that_somebody_waits_for_is_traced_and_may_say_so(function: str) -> None:
    is_waited_for = function.removesuffix("Function") in TRACED
    assert ("Active" if is_waited_for else None) == properties(function).get("Tracing")
    assert (XRAY in [statement["Action"] for statement in statements(function)]) == is_waited_for


def test_no_two_functions_share_a_role() -> None:
    roles = {properties(function)["Role"]["Fn::GetAtt"][0] for function in FUNCTIONS}
    assert len(roles) == len(FUNCTIONS)


@each_function
def test_a_function_logs_into_a_group_of_its_own_that_forgets(function: str) -> None:
    group = TEMPLATE["Resources"][properties(function)["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
    assert group["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/{properties(function)['FunctionName']['Fn::Sub']}"}
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@each_function
def test_the_gateway_may_call_a_function_if_and_only_if_a_route_leads_to_it(function: str) -> None:
    integrations = {
        name
        for name, body in of_type("AWS::ApiGatewayV2::Integration").items()
        if body["Properties"]["IntegrationUri"] == {"Ref": f"{function}.Alias"}
    }
    routed = {
        body["Properties"]["Target"]["Fn::Sub"].removeprefix("integrations/${").removesuffix("}")
        for body in of_type("AWS::ApiGatewayV2::Route").values()
    }
    permitted = [
        body
        for body in of_type("AWS::Lambda::Permission").values()
        if body["Properties"]["FunctionName"] == {"Ref": f"{function}.Alias"}
        and body["Properties"]["Principal"] == "apigateway.amazonaws.com"
    ]
    assert integrations <= routed
    assert len(permitted) == len(integrations)


def test_what_no_route_knows_is_answered_by_a_function() -> None:
    routes = {body["Properties"]["RouteKey"] for body in of_type("AWS::ApiGatewayV2::Route").values()}
    assert "$default" in routes
    assert "GET /health" in routes


@each_function
def test_a_queue_waits_for_its_function_and_takes_back_only_what_failed(function: str) -> None:
    timeout = properties(function).get("Timeout", GLOBALS["Timeout"])
    for event in properties(function).get("Events", {}).values():
        source = event["Properties"]
        queue = QUEUES[source["Queue"]["Fn::GetAtt"][0]]["Properties"]
        assert queue["VisibilityTimeout"] >= 6 * timeout
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert "MaximumConcurrency" in source["ScalingConfig"]


@each_function
def test_a_function_that_sends_to_the_queue_it_works_on_may_go_round(function: str) -> None:
    sends = {
        resource["Fn::GetAtt"][0]
        for one in statements(function)
        if "sqs:SendMessage" in listed(one["Action"])
        for resource in listed(one["Resource"])
    }
    works_on = {
        event["Properties"]["Queue"]["Fn::GetAtt"][0]
        for event in properties(function).get("Events", {}).values()
        if event["Type"] == "SQS"
    }
    assert properties(function).get("RecursiveLoop") == ("Allow" if sends & works_on else None)


@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_is_encrypted(queue: str) -> None:
    assert QUEUES[queue]["Properties"]["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize("queue", sorted(set(QUEUES) - DEAD_LETTER_QUEUES))
def test_a_queue_ends_in_a_dead_letter_queue_that_takes_from_it_alone(queue: str) -> None:
    target = QUEUES[queue]["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
    assert target in DEAD_LETTER_QUEUES
    allowed = QUEUES[target]["Properties"]["RedriveAllowPolicy"]
    assert allowed["redrivePermission"] == "byQueue"
    (source,) = allowed["sourceQueueArns"]
    assert source["Fn::Sub"].endswith(f":{QUEUES[queue]['Properties']['QueueName']['Fn::Sub']}")


@pytest.mark.parametrize("kind", ["AWS::DynamoDB::Table", "AWS::S3::Bucket"])
def test_what_holds_data_outlives_the_deployment(kind: str) -> None:
    for body in of_type(kind).values():
        assert (body["DeletionPolicy"], body["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_every_parameter_is_described_bounded_and_grouped() -> None:
    bounds = {"AllowedPattern", "AllowedValues", "MinValue"}
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter["Description"], name
        assert bounds & set(parameter), name
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(TEMPLATE["Parameters"])
