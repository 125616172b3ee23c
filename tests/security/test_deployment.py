"""What the template promises of data and doors: encrypted, kept, private, bounded, and closed unless it says so."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra.openapi.document import served
from shared.endpoint import problem_response
from shared.errors import Code, Refusal
from shared.uploads import KEPT_S
from tests.support.template import Template, read_template

TEMPLATE = read_template()
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
FRONTENDS = "https://app.example.com,http://localhost:3000"
HEADERS_SENT = {
    "authorization", "content-type", "idempotency-key", "prefer", "cancel-after", "afterimage-reuse", "if-none-match",
}  # fmt: skip
HEADERS_READ = {
    "location", "retry-after", "retry-after-ms", "etag", "ratelimit", "ratelimit-policy", "preference-applied",
    "x-request-id", "x-should-retry",
}  # fmt: skip


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: body for name, body in RESOURCES.items() if body["Type"] == kind}


def resolved(name: str, **parameters: str) -> Any:
    """Give the properties of a resource as they are deployed with these parameters."""
    return Template(parameters, {}).resolve(RESOURCES[name]["Properties"])


def statements(document: Any) -> Iterator[dict[str, Any]]:
    yield from document["Statement"]


TABLES = of_type("AWS::DynamoDB::Table")
BUCKET = resolved("Bucket")


# Data


def test_the_bucket_is_encrypted() -> None:
    (rule,) = BUCKET["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in {"AES256", "aws:kms"}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_encrypted_as_dynamodb_always_is(name: str) -> None:
    assert resolved(name).get("SSESpecification", {"SSEEnabled": True})["SSEEnabled"] is True


def test_secret_inputs_have_a_key_of_their_own_that_changes_every_year() -> None:
    assert of_type("AWS::KMS::Key").keys() == {"InputKey"}
    assert resolved("InputKey")["EnableKeyRotation"] is True


def test_the_bucket_is_reached_over_tls_only() -> None:
    (policy,) = of_type("AWS::S3::BucketPolicy").values()
    assert policy["Properties"]["Bucket"] == {"Ref": "Bucket"}
    denied = [one for one in statements(policy["Properties"]["PolicyDocument"]) if one["Effect"] == "Deny"]
    assert denied == [
        {
            "Sid": "OnlyTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]


def test_no_policy_opens_the_bucket_to_anybody() -> None:
    for policy in of_type("AWS::S3::BucketPolicy").values():
        assert {one["Effect"] for one in statements(policy["Properties"]["PolicyDocument"])} == {"Deny"}


def test_public_access_is_blocked_in_all_four_ways() -> None:
    assert BUCKET["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    assert BUCKET["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert not {"AccessControl", "WebsiteConfiguration"} & set(BUCKET)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_can_be_brought_back_to_any_second_and_is_not_deleted_by_mistake(name: str) -> None:
    properties = resolved(name)
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["DeletionProtectionEnabled"] is True


@pytest.mark.parametrize("name", [*TABLES, "Bucket"])
def test_what_holds_data_stays_when_the_stack_goes_or_replaces_it(name: str) -> None:
    assert (RESOURCES[name]["DeletionPolicy"], RESOURCES[name]["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_what_was_overwritten_or_deleted_by_mistake_is_kept_for_a_while() -> None:
    assert BUCKET["VersioningConfiguration"] == {"Status": "Enabled"}


def lifecycle(**parameters: str) -> dict[str, dict[str, Any]]:
    rules = resolved("Bucket", **parameters)["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules if rule)
    return {rule["Id"]: rule for rule in rules if rule}


def test_an_upload_that_was_never_finished_is_removed() -> None:
    assert lifecycle()["abandoned-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_older_versions_are_removed_after_a_month() -> None:
    rule = lifecycle()["old-versions"]
    assert "Prefix" not in rule, "it holds for everything"
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rule["ExpiredObjectDeleteMarker"] is True


def test_inputs_are_removed_and_outlive_the_longest_wait() -> None:
    rule = lifecycle()["inputs-expire"]
    longest_wait = TEMPLATE["Parameters"]["MaxQueuedHours"]["MaxValue"] / 24
    assert rule["Prefix"] == "inputs/"
    assert longest_wait < rule["ExpirationInDays"] <= 30


def test_uploads_are_removed_and_outlive_their_use_and_the_longest_wait() -> None:
    rule = lifecycle()["uploads-expire"]
    longest_wait = TEMPLATE["Parameters"]["MaxQueuedHours"]["MaxValue"] / 24
    assert rule["Prefix"] == "uploads/"
    assert KEPT_S / 86_400 + longest_wait < rule["ExpirationInDays"] <= 30
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}


def test_files_are_removed_when_the_operator_says_so_and_never_by_default() -> None:
    assert "files-expire" not in lifecycle()
    rule = lifecycle(FileRetentionDays="30")["files-expire"]
    assert (rule["Prefix"], rule["ExpirationInDays"]) == ("jobs/", "30")


def test_logs_are_removed() -> None:
    groups = of_type("AWS::Logs::LogGroup")
    assert all(body["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"} for body in groups.values())


def test_only_what_is_closed_is_forgotten_by_itself() -> None:
    assert resolved("JobsTable")["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert "TimeToLiveSpecification" not in resolved("AccountsTable")


def test_no_secret_is_in_the_template_or_in_a_functions_environment() -> None:
    """Functions are told where secrets are; a parameter of the template could be read by whoever sees the stack."""
    for name, body in of_type("AWS::Serverless::Function").items():
        for variable, value in body["Properties"]["Environment"]["Variables"].items():
            if re.search(r"TOKEN|SECRET|KEY|PASSWORD", variable):
                assert variable.endswith(("_PARAMETER", "_KEY_ID")), (name, variable)
                assert value == {"Ref": "InputKey"} or value["Fn::Sub"].startswith("/afterimage/${Stage}/")
    assert not [name for name in TEMPLATE["Parameters"] if re.search(r"Token|Secret|Password|Key$", name)]


# Doors


def test_requests_are_throttled_before_any_function_runs() -> None:
    (stage,) = of_type("AWS::ApiGatewayV2::Stage").values()
    settings = stage["Properties"]["DefaultRouteSettings"]
    rate, burst = (TEMPLATE["Parameters"][settings[f"Throttling{name}Limit"]["Ref"]] for name in ("Rate", "Burst"))
    assert 0 < rate["MinValue"] <= rate["Default"] <= 1_000
    assert rate["Default"] <= burst["Default"] <= 2_000
    assert burst["MinValue"] > 0


def test_only_replicates_webhooks_are_throttled_apart_so_that_callers_do_not_crowd_them_out() -> None:
    (stage,) = of_type("AWS::ApiGatewayV2::Stage").values()
    (route,) = stage["Properties"]["RouteSettings"]
    assert route == TEMPLATE["Resources"]["WebhookRoute"]["Properties"]["RouteKey"]
    assert stage["Properties"]["RouteSettings"][route] == stage["Properties"]["DefaultRouteSettings"]
    assert stage["DependsOn"] == "WebhookRoute"


def test_every_request_is_logged_without_what_opens_anything() -> None:
    settings = resolved("ApiStage")["AccessLogSettings"]
    assert RESOURCES["ApiStage"]["Properties"]["AccessLogSettings"]["DestinationArn"] == {
        "Fn::GetAtt": ["ApiLogs", "Arn"]
    }
    line = json.loads(settings["Format"])
    assert {"$context.requestId", "$context.identity.sourceIp", "$context.path", "$context.status"} <= set(
        line.values()
    )
    for opens in ("querystring", "header", "authorizer", "rawPath", "requestOverride"):
        assert opens not in settings["Format"].lower()


def test_functions_are_called_by_the_gateway_and_by_nobody_outside() -> None:
    assert not of_type("AWS::Lambda::Url")
    for body in of_type("AWS::Serverless::Function").values():
        assert not {"FunctionUrlConfig", "VpcConfig"} & set(body["Properties"])
    for body in of_type("AWS::Lambda::Permission").values():
        properties = body["Properties"]
        assert properties["Principal"] == "apigateway.amazonaws.com"
        assert "${Api}" in properties["SourceArn"]["Fn::Sub"]


def test_roles_are_taken_by_services_of_aws_only() -> None:
    for name, body in of_type("AWS::IAM::Role").items():
        for statement in statements(body["Properties"]["AssumeRolePolicyDocument"]):
            services = statement["Principal"]["Service"]
            assert set(statement["Principal"]) == {"Service"}, name
            assert re.fullmatch(r"(lambda|scheduler|codedeploy)\.amazonaws\.com", services), name


def test_a_queue_takes_messages_from_its_own_rule_only() -> None:
    for body in of_type("AWS::SQS::QueuePolicy").values():
        for statement in statements(body["Properties"]["PolicyDocument"]):
            assert statement["Action"] == "sqs:SendMessage"
            assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["ManifestRule", "Arn"]}}}


# Pages of other origins


def test_no_page_may_call_the_api_or_the_bucket_unless_it_is_named() -> None:
    assert TEMPLATE["Parameters"]["FrontendOrigins"]["Default"] == ""
    assert resolved("Api")["CorsConfiguration"] is None
    assert resolved("Bucket")["CorsConfiguration"] is None


def test_named_pages_may_send_and_read_what_the_interfaces_are_made_of() -> None:
    cors = resolved("Api", FrontendOrigins=FRONTENDS)["CorsConfiguration"]
    assert cors["AllowOrigins"] == FRONTENDS.split(",")
    assert set(cors["AllowMethods"]) == {route.partition(" ")[0] for route in served()}
    assert set(cors["AllowHeaders"]) == HEADERS_SENT
    assert set(cors["ExposeHeaders"]) == HEADERS_READ
    assert "AllowCredentials" not in cors, "what a browser would send by itself opens nothing here"
    assert "*" not in str(cors)


def test_named_pages_may_download_and_upload_what_is_signed() -> None:
    down, up = resolved("Bucket", FrontendOrigins=FRONTENDS)["CorsConfiguration"]["CorsRules"]
    assert (down["AllowedMethods"], up["AllowedMethods"]) == (["GET", "HEAD"], ["POST"])
    assert up["AllowedOrigins"] == FRONTENDS.split(",")
    # To a browser that was redirected here from the API, the page's own origin is nobody's business any more.
    assert down["AllowedOrigins"] == [*FRONTENDS.split(","), "null"]


@pytest.mark.parametrize(
    "origins",
    [
        "*", "null", "https://*", "https://*.example.com", "app.example.com", "https://app.example.com/",
        "https://app.example.com/x", "https://app.example.com,", ",https://app.example.com", " https://app.example.com",
        "https://app.example.com, https://b.example.com", "https://user@app.example.com", "file://x", "ftp://x",
        "HTTPS://app.example.com", "https://APP.example.com", "https://app.example.com:", "https://app.example.com:x",
        "https://app.example.com?x", "https://app.example.com#x", "https://äpp.example.com",
    ],
)  # fmt: skip
def test_what_is_no_origin_cannot_be_named(origins: str) -> None:
    """Browsers compare to the letter: what is written otherwise would never match, and a star would always."""
    with pytest.raises(ValueError, match="FrontendOrigins"):
        Template({"FrontendOrigins": origins}, {})


@pytest.mark.parametrize("origins", ["", "https://a.example", "http://localhost:3000,https://a.example:8443"])
def test_origins_can_be_named(origins: str) -> None:
    assert Template({"FrontendOrigins": origins}, {})


def test_headers_of_refusals_can_be_read_by_pages_too() -> None:
    """Whatever a refusal says by header is among those that pages may read."""
    for refusal in (Refusal(Code.RATE_LIMITED, "", retry_after=1.0), Refusal(Code.INVALID_INPUT, "")):
        headers = set(problem_response(refusal, "/", "request").headers)
        assert headers - {"content-type"} <= HEADERS_READ
