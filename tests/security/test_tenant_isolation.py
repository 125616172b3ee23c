"""Tenants: over every route there is, what one has is not there for another, in words and in deeds.

Each route has a row here, by name; a route without one fails, and so does one that has become public.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.job import TenantId
from shared.signatures import sign_link
from tests.functions.test_uploads import form
from tests.security.scene import BODY, FORM, MODEL, NAME, ROUTES, TRAINED, TRAINER, V1_BODY, Scene, two_tenants
from tests.support.problems import check_problem
from tests.support.replicate import FakeReplicate, prediction
from tests.support.submits import Caller
from tests.support.template import Template, read_template
from tests.support.world import ORIGIN, SECRETS, World, image

pytestmark = pytest.mark.sockets

type Row = Callable[[Scene], None]

PUBLIC = {
    "GET /",
    "GET /console/{version}/{name}",
    "GET /openapi.json",
    "GET /health",
    "GET /files/{job_id}/{name}",  # signed
    "POST /webhooks/replicate/{job_id}",  # signed
}
"""What can be had without a key; whoever adds to it says here that it is meant."""


@pytest.fixture(scope="module")
def scene(standing: tuple[World, FakeReplicate]) -> Iterator[Scene]:
    with two_tenants(*standing) as made:
        yield made


def missing(method: str, path: str) -> Row:
    """Require that what the victim has under a path is not there, in the same words as what nobody has."""

    def row(scene: Scene) -> None:
        ids = {
            "job_id": [scene.done.id, scene.running.id, scene.training.id],
            "file_id": [scene.file["id"], scene.upload["id"]],
        }
        (name,) = re.findall(r"{(\w+)}", path)
        for one in ids[name]:
            nobodys = one[:-4] + "0000"
            answers = [scene.ask(method, path.replace(f"{{{name}}}", asked)) for asked in (one, nobodys)]
            problems = [
                {**check_problem(answer, 404, "not_found", instance=answer.json["instance"]), "request_id": ""}
                for answer in answers
            ]
            assert json.dumps(problems[0]).replace(one, nobodys) == json.dumps(problems[1])

    return row


def empty(path: str, *queries: Callable[[Scene], str]) -> Row:
    """Require that a list holds nothing, also where the query names something of the victim's."""

    def row(scene: Scene) -> None:
        for query in ("", *(one(scene) for one in queries)):
            answered = scene.ask("GET", f"{path}?{query}" if query else path)
            assert answered.status == 200, answered.body
            assert not answered.json.get("results", answered.json.get("predictions")), answered.body

    return row


def not_callable(path: str) -> Row:
    """Require that the victim's model cannot be looked at."""

    def row(scene: Scene) -> None:
        answered = scene.ask("GET", path.replace("{model}", scene.model).replace("{version}", TRAINED))
        check_problem(answered, 403, "model_not_allowed", instance=answered.json["instance"])

    return row


def not_listed(path: str) -> Row:
    def row(scene: Scene) -> None:
        for query in ("", "?cursor=acme%2Fa"):
            assert scene.ask("GET", path + query).status == 200

    return row


def shows_own_account(scene: Scene) -> None:
    assert scene.ask("GET", "/v1/account").json["username"] == scene.intruder.tenant


def shows_own_secret(scene: Scene) -> None:
    own = scene.ask("GET", "/v1/webhooks/default/secret").json["key"]
    assert own in scene.world.accounts.webhook_secrets(TenantId(scene.intruder.tenant))


def same_for_all(path: str | Callable[[Scene], str]) -> Row:
    """Require that a public route knows nobody: it says the same to both, and to whoever has no key."""

    def row(scene: Scene) -> None:
        asked = path(scene) if callable(path) else path
        answers = [scene.world.request("GET", asked, key=key) for key in (None, scene.intruder.key, scene.victim.key)]
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1
        for answer in answers:
            scene.check_nothing_private(answer)

    return row


def of_the_console(scene: Scene) -> str:
    """Give the path of one of the page's own files."""
    found = re.search(r"/console/\w+/app\.js", scene.world.request("GET", "/").body.decode())
    assert found
    return found[0]


def opens_only_with_its_own_signature(scene: Scene) -> None:
    """Require that neither a key nor a link of another job opens a file; a link is for whoever was given it."""
    own = scene.intruder.finish(scene.own(scene.ask("POST", "/generate", dict(BODY))))
    (link,) = scene.intruder.get(f"/predictions/{own.id}").json["images"]
    expires = re.findall(r"e=(\d+)", link)[0]
    path, signature = f"/files/{scene.done.id}/0.webp", urlsplit(link).query
    forged = sign_link(scene.intruder.key, scene.done.id, "0.webp", int(expires))
    for query in ("", signature, f"e={expires}&s={forged}"):
        check_problem(scene.ask("GET", f"{path}?{query}"), 403, "forbidden", instance=path)
    beside = f"/files/{scene.done.id}/manifest.json"
    check_problem(scene.ask("GET", f"{beside}?{signature}"), 403, "forbidden", instance=beside)


def keeps_a_file_of_its_own(scene: Scene) -> None:
    body = form(image("PNG"), name=f"../{scene.victim.tenant}/{NAME}")
    answered = scene.world.request("POST", "/v1/files", body, key=scene.intruder.key, headers=FORM)
    assert answered.status == 201
    assert answered.json["id"] != scene.file["id"]
    keys = [key for key in scene.world.stored() if answered.json["id"] in key]
    assert keys == [f"uploads/{scene.intruder.tenant}/{answered.json['id']}/private-fox.png"]


def lists_own_files(scene: Scene) -> None:
    for query in ("", f"?cursor={scene.file['id']}"):
        results = scene.ask("GET", f"/v1/files{query}").json["results"]
        assert scene.file["id"] not in [one["id"] for one in results]


def gives_a_form_for_a_place_of_its_own(scene: Scene) -> None:
    for name in (
        f"../../{scene.victim.tenant}/{scene.file['id']}/x.png",
        "../x.png",
        "..",
        "a/b/c.png",
        "\u2024\u2024/x",
    ):
        answered = scene.ask("POST", "/uploads", {"filename": name})
        assert answered.status == 201, answered.body
        assert answered.json["fields"]["key"].startswith(f"uploads/{scene.intruder.tenant}/{answered.json['id']}/")
        assert ".." not in answered.json["fields"]["key"]


def files_of(scene: Scene) -> list[str]:
    """Give URLs of the victim's files that the intruder cannot sign."""
    return [
        f"{ORIGIN}/v1/files/{scene.file['id']}",
        f"{ORIGIN}/v1/files/{scene.file['id']}/download",
        f"{ORIGIN}/v1/files/{scene.upload['id']}",
        f"{ORIGIN}/files/{scene.done.id}/0.webp",
        scene.links[0].partition("&s=")[0],
    ]


def takes_no_file(path: str, body: Callable[[str], Any], name: str) -> Row:
    """Require that the victim's files cannot be given to a model."""

    def row(scene: Scene) -> None:
        for url in files_of(scene):
            answered = scene.ask("POST", path, body(url))
            problem = check_problem(answered, 422, "invalid_input", instance=path, fields={name})
            assert url.rpartition("/")[2] not in problem["detail"]
        assert scene.replicate.calls == []

    return row


def starts_its_own(path: str, body: Any) -> Row:
    """Require that neither a key, nor a repeat, nor reuse leads to the victim's job of the very same request."""

    def row(scene: Scene) -> None:
        found = [
            scene.own(scene.ask("POST", path, body, **headers)).id
            for headers in (
                {"idempotency_key": "the same"},
                {"x_stainless_retry_count": "1"},
                {"afterimage_reuse": "true"},
            )
        ]
        assert scene.done.id not in found
        assert scene.running.id not in found

    return row


def starts_no_model_of_the_victims(path: str, body: Callable[[str], Any], status: int, code: str) -> Row:
    def row(scene: Scene) -> None:
        for name in (scene.model, f"{scene.model}:{TRAINED}"):
            answered = scene.ask("POST", path, body(name))
            assert (answered.status, answered.json["code"]) == (status, code), answered.body
        assert scene.replicate.created == []

    return row


def all_of(*rows: Row) -> Row:
    def row(scene: Scene) -> None:
        for one in rows:
            scene.replicate.forget()
            one(scene)

    return row


def trains_over_nothing(path: str, body: Callable[[str], Any], name: str) -> Row:
    """Require that nobody trains under a name that another tenant has."""

    def row(scene: Scene) -> None:
        answered = scene.ask("POST", path, body(scene.model))
        check_problem(answered, 422, "invalid_input", instance=path, fields={name})
        assert scene.replicate.created == []

    return row


def hears_no_key(scene: Scene) -> None:
    for job in (scene.running, scene.done):
        path = f"/webhooks/replicate/{job.id}"
        document = prediction(str(job.prediction_id), "succeeded", output=[])
        check_problem(scene.ask("POST", f"{path}?attempt=1", document), 401, "unauthorized", instance=path)


TRAININGS = f"/v1/models/{TRAINER}/versions/latest/trainings"
DEV = f"/v1/models/{MODEL}/predictions"
FAST = "/v1/deployments/acme/fast/predictions"
ZIP = "https://example.com/x.zip"

ROWS: Mapping[str, Row] = {
    "GET /v1/predictions/{job_id}": missing("GET", "/v1/predictions/{job_id}"),
    "GET /v1/trainings/{job_id}": missing("GET", "/v1/trainings/{job_id}"),
    "GET /predictions/{job_id}": missing("GET", "/predictions/{job_id}"),
    "POST /v1/predictions/{job_id}/cancel": missing("POST", "/v1/predictions/{job_id}/cancel"),
    "POST /v1/trainings/{job_id}/cancel": missing("POST", "/v1/trainings/{job_id}/cancel"),
    "POST /predictions/{job_id}/cancel": missing("POST", "/predictions/{job_id}/cancel"),
    "DELETE /v1/predictions/{job_id}": missing("DELETE", "/v1/predictions/{job_id}"),
    "DELETE /v1/trainings/{job_id}": missing("DELETE", "/v1/trainings/{job_id}"),
    "DELETE /predictions/{job_id}": missing("DELETE", "/predictions/{job_id}"),
    "GET /v1/files/{file_id}": missing("GET", "/v1/files/{file_id}"),
    "GET /v1/files/{file_id}/download": missing("GET", "/v1/files/{file_id}/download"),
    "DELETE /v1/files/{file_id}": missing("DELETE", "/v1/files/{file_id}"),
    "GET /v1/predictions": empty("/v1/predictions", lambda scene: f"cursor={scene.training.id}"),
    "GET /v1/trainings": empty("/v1/trainings", lambda scene: f"cursor={scene.training.id}"),
    "GET /predictions": empty(
        "/predictions",
        lambda scene: f"batch_id={scene.batch}",
        lambda scene: f"cursor={scene.training.id}",
        lambda _: "status=succeeded",
    ),
    "GET /v1/files": lists_own_files,
    "GET /models": not_listed("/models"),
    "GET /v1/models": not_listed("/v1/models"),
    "GET /v1/models/{owner}/{name}": not_callable("/v1/models/{model}"),
    "GET /v1/models/{owner}/{name}/versions": not_callable("/v1/models/{model}/versions"),
    "GET /v1/models/{owner}/{name}/versions/{version}": not_callable("/v1/models/{model}/versions/{version}"),
    "GET /v1/account": shows_own_account,
    "GET /v1/webhooks/default/secret": shows_own_secret,
    "GET /": same_for_all("/"),
    "GET /console/{version}/{name}": same_for_all(of_the_console),
    "GET /openapi.json": same_for_all("/openapi.json"),
    "GET /health": same_for_all("/health"),
    "GET /files/{job_id}/{name}": opens_only_with_its_own_signature,
    "POST /v1/files": keeps_a_file_of_its_own,
    "POST /uploads": gives_a_form_for_a_place_of_its_own,
    "POST /generate": all_of(
        takes_no_file("/generate", lambda url: {**BODY, "input": {"image": url}}, "input.image"),
        starts_no_model_of_the_victims("/generate", lambda name: {**BODY, "model": name}, 403, "model_not_allowed"),
        starts_no_model_of_the_victims(
            "/generate", lambda name: {"prompt": "a", "lora_model_id": name}, 403, "model_not_allowed"
        ),
        starts_its_own("/generate", dict(BODY)),
    ),
    "POST /v1/predictions": all_of(
        takes_no_file(
            "/v1/predictions", lambda url: {"version": MODEL, "input": {"prompt": "a", "image": url}}, "input.image"
        ),
        starts_no_model_of_the_victims(
            "/v1/predictions", lambda name: {"version": name, "input": {"prompt": "a"}}, 403, "model_not_allowed"
        ),
        starts_its_own("/v1/predictions", {**V1_BODY, "version": MODEL}),
    ),
    "POST /v1/models/{owner}/{name}/predictions": all_of(
        takes_no_file(DEV, lambda url: {"input": {"prompt": "a", "image": url}}, "input.image"),
        starts_its_own(DEV, V1_BODY),
    ),
    "POST /v1/deployments/{owner}/{name}/predictions": all_of(
        takes_no_file(FAST, lambda url: {"input": {"prompt": "a", "image": url}}, "input.image"),
        starts_its_own(FAST, V1_BODY),
    ),
    "POST /v1/models/{owner}/{name}/versions/{version}/trainings": all_of(
        takes_no_file(
            TRAININGS, lambda url: {"destination": "acme/own", "input": {"input_images": url}}, "input.input_images"
        ),
        trains_over_nothing(
            TRAININGS, lambda name: {"destination": name, "input": {"input_images": ZIP}}, "destination"
        ),
    ),
    "POST /train": all_of(
        takes_no_file(
            "/train", lambda url: {"images_zip_url": url, "destination": "acme/own", "trigger_word": "X"},
            "input.input_images",
        ),
        trains_over_nothing(
            "/train", lambda name: {"images_zip_url": ZIP, "destination": name, "trigger_word": "X"}, "destination"
        ),
    ),
    "POST /webhooks/replicate/{job_id}": hears_no_key,
}  # fmt: skip


def test_every_route_has_a_row() -> None:
    assert set(ROWS) == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES)
def test_what_one_tenant_has_is_not_there_for_another(scene: Scene, route: str) -> None:
    scene.intruder = Caller(scene.world, scene.replicate)
    scene.replicate.forget()
    scene.replicate.catalog["models/acme/own"] = {"latest_version": None}
    ROWS[route](scene)
    assert scene.state == scene.known


def test_the_intruders_requests_are_right_but_for_whose_things_they_name(scene: Scene) -> None:
    """Without this, rows that are refused for another reason would pass."""
    victim = scene.victim
    for path in ("/v1/predictions/{}", "/predictions/{}"):
        assert victim.get(path.format(scene.done.id)).status == 200
    assert victim.get(f"/v1/trainings/{scene.training.id}").status == 200
    assert victim.get(f"/v1/files/{scene.file['id']}/download").body == image("PNG")
    assert len(victim.get("/v1/predictions").json["results"]) == 4
    assert len(victim.get(f"/predictions?batch_id={scene.batch}").json["predictions"]) == 2
    assert scene.model in victim.get("/models").body.decode()
    link = urlsplit(scene.links[0])
    assert scene.world.request("GET", f"{link.path}?{link.query}").status == 200
    for url in (files_of(scene)[0], scene.links[0]):
        with_file = victim.generate({**BODY, "input": {"image": url}})
        assert with_file.status == 202, with_file.body
    with_model = victim.generate({"prompt": "a", "model": scene.model})
    assert with_model.status == 202, with_model.body
    scene.known = scene.state


# Whoever has no key


def filled(route: str, scene: Scene) -> tuple[str, str]:
    method, _, path = route.partition(" ")
    given = {
        "job_id": scene.done.id, "file_id": scene.file["id"], "owner": "acme", "name": scene.victim.tenant,
        "version": TRAINED,
    }  # fmt: skip
    return method, re.sub(r"{(\w+)}", lambda match: given[match[1]], path)


def test_the_public_routes_are_these() -> None:
    assert {key for key, route in ROUTES.items() if route.public} == PUBLIC


SPOILED: Mapping[str, Callable[[str, Scene], str]] = {
    "no header": lambda _, __: "",
    "no scheme": lambda key, _: key,
    "another scheme": lambda key, _: f"Basic {key}",
    "no key": lambda _, __: "Bearer ",
    "another tenant's name in the own key": lambda _, scene: (
        f"Bearer {scene.intruder.key.replace(scene.intruder.tenant, scene.victim.tenant)}"
    ),
    "a key without its last character": lambda key, _: f"Bearer {key[:-1]}",
    "a key in other letters": lambda key, _: f"Bearer {key.swapcase()}",
    "two keys": lambda key, scene: f"Bearer {scene.intruder.key},Bearer {key}",
    "the token of Replicate": lambda _, __: f"Bearer {SECRETS['replicate-api-token']}",
}


@pytest.mark.parametrize("route", sorted(set(ROUTES) - PUBLIC))
def test_without_a_valid_key_every_other_route_is_closed(scene: Scene, route: str) -> None:
    method, path = filled(route, scene)
    scene.replicate.forget()
    for name, spoil in SPOILED.items():
        headers = {"authorization": spoil(scene.victim.key, scene)}
        answered = scene.world.request(method, path, {} if method == "POST" else None, headers=headers)
        problem = check_problem(answered, 401, "unauthorized", instance=path)
        assert scene.victim.key not in json.dumps(problem), name
    assert method == "GET" or scene.state == scene.known
    assert scene.replicate.calls == []


# The template


def test_every_route_of_the_template_leads_to_routes_that_have_rows() -> None:
    """And every row is reached by one: what the functions offer is what the gateway lets through."""
    keys = {body["RouteKey"] for _, body in Template({}, {}).resources("AWS::ApiGatewayV2::Route")} - {"$default"}
    reached = set()
    for route in ROUTES:
        method, _, path = route.partition(" ")
        matching = [key for key in keys if leads(key, method, re.sub(r"{\w+}", "x", path))]
        assert matching, route
        reached |= set(matching)
        function = Template({}, {}).function_of_route(method, re.sub(r"{\w+}", "x", path))
        module = ROUTES[route].run.__module__
        assert f"{module}.handler" == function.handler, route
    assert reached == keys


def leads(key: str, method: str, path: str) -> bool:
    wanted, _, pattern = key.partition(" ")
    return wanted == method and bool(re.fullmatch(re.sub(r"{\w+\\?\+?}", ".+", pattern.replace("+", r"\+")), path))


def test_what_no_route_knows_is_nobodys(scene: Scene) -> None:
    for path in ("/admin", "/v1/tenants", f"/jobs/{scene.victim.tenant}/{scene.done.id}/manifest.json", "/.env"):
        for key in (None, scene.intruder.key):
            answered = scene.world.request("GET", path, key=key)
            assert answered.status == 404, answered.body
            scene.check_nothing_private(answered, path)


def test_the_roles_of_a_function_do_not_depend_on_a_route() -> None:
    """Routes have no authorizer that could be forgotten on one of them: keys are checked behind them all."""
    for body in read_template()["Resources"].values():
        if body["Type"] == "AWS::ApiGatewayV2::Route":
            assert set(body["Properties"]) == {"ApiId", "RouteKey", "Target"}
