"""The HTTP API, held against the document that describes it."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pytest

from streamer.dashboard.hub import Hub
from streamer.dashboard.hubs import Hubs
from streamer.dashboard.server import application, application_of_runs
from streamer.dashboard.view import RunView
from streamer.results.threshold_files import write_changes
from streamer.results.thresholds import Change, read_request
from streamer.transport.guard import Guard
from streamer.transport.token import CONTROL_FILE, own_token
from tests.served import Served
from tests.unit.runs import make_run
from workers.compute import peak_preview

jsonschema = pytest.importorskip("jsonschema", reason="needs openapi-spec-validator (extra test)")
openapi = pytest.importorskip("openapi_spec_validator")

SHAPE = (60, 64)


def frames(path):
    """Make the recording of a run of which each frame has one bright spot."""
    pixels = np.full((30, *SHAPE), 5, np.uint16)
    pixels[:, 20, 30] = 500
    pixels[:, 40, 10] = 60
    pixels[:, 0, 0] = 65535
    np.save(path, pixels)
    return path


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path / "run", source=str(frames(tmp_path / "first.npy"))).path


@pytest.fixture
def served(folder):
    with Served(Guard(application(Hub(RunView(folder, peak_preview))))) as one:
        yield one


def call(served, path, method="GET", body=None, **headers):
    """Return status and answer."""
    where = urlsplit(served.url)
    with closing(HTTPConnection(where.hostname, where.port, timeout=20)) as connection:
        text = None if body is None else body if isinstance(body, str) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, text, named)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.fixture
def described(served):
    return call(served, "/api/openapi.json")[1]


def fits(described, kind, answer):
    """Check an answer against the schema that the document has for it."""
    schema = {"$ref": f"#/components/schemas/{kind}", "components": described["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer)
    return answer


def test_the_document_is_one(described):
    openapi.validate(described)
    ids = [one["operationId"] for path in described["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids)) == 8


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/runs", "Runs"),
        ("/api/runs/run/status", "Status"),
        ("/api/runs/run/tracks", "Tracks"),
        ("/api/runs/run/tracks/0", "Curve"),
        ("/api/runs/run/tracks/0?quantity=row&x=frame&points=20", "Curve"),
        ("/api/runs/run/frames/3/peaks?series=first", "Frame"),
        ("/api/runs/run/frames/3/pixels?series=first", "Pixels"),
        ("/api/runs/run/thresholds", "Thresholds"),
    ],
)
def test_what_is_answered_fits_its_schema(served, described, path, kind):
    status, answer = call(served, path)
    assert status == 200, answer
    fits(described, kind, answer)
    pattern = path.partition("?")[0].replace("/runs/run/", "/runs/{run}/")
    pattern = pattern.replace("tracks/0", "tracks/{track}").replace("frames/3", "frames/{frame}")
    said = described["paths"][pattern]["get"]["responses"]["200"]
    assert said["content"]["application/json"]["schema"]["$ref"].endswith(f"/{kind}")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/runs/other/status", 404, "no run other"),
        ("/api/nothing", 404, "no such path"),
        ("/api/runs/run/tracks/999", 404, "no track 999"),
        ("/api/runs/run/tracks/0?quantity=colour", 400, "no quantity colour: there are radial"),
        ("/api/runs/run/tracks/0?x=speed", 400, "time or frame"),
        ("/api/runs/run/tracks/0?points=1", 400, "from 2 to"),
        ("/api/runs/run/frames/999/peaks", 404, "no frame 999"),
        ("/api/runs/run/frames/3/pixels?series=first&row=-1", 400, "row is a whole number"),
        ("/api/runs/run/frames/3/pixels?series=first&row=60", 400, "60 x 64"),
        ("/api/runs/run/frames/3/pixels?series=second", 404, "first"),
    ],
)
def test_what_cannot_be_answered_says_why(served, described, path, status, words):
    code, answer = call(served, path)
    assert code == status
    assert words in fits(described, "Problem", answer)["error"]


@pytest.mark.parametrize(("frame", "state"), [(3, "done"), (7, "missing"), (20, "failed")])
def test_a_frame_without_peaks_says_whether_it_had_any_to_find(served, frame, state):
    answer = call(served, f"/api/runs/run/frames/{frame}/peaks?series=first")[1]
    assert (answer["state"], answer["settled"]) == (state, True)
    assert bool(answer["peaks"]) == (state == "done")


def test_numbers_are_those_of_the_run(served, folder):
    with closing(RunView(folder)) as view:
        view.catch_up(5)
        mine = {name: one.copy() for name, one in view.frames.peaks(("first", 3)).items()}
    peaks = call(served, "/api/runs/run/frames/3/peaks?series=first")[1]["peaks"]
    assert [peak["row"] for peak in peaks] == mine["row"].tolist()
    assert [peak["track"] for peak in peaks] == mine["track"].tolist()
    pixels = call(served, "/api/runs/run/frames/3/pixels?series=first&row=19&col=29&rows=2&cols=3")
    assert pixels[1]["counts"] == [[5, 5, 5], [5, 500, 5]]
    assert pixels[1]["shape"] == list(SHAPE)
    whole = call(served, "/api/runs/run/frames/3/pixels?series=first")[1]["counts"]
    assert whole[0][0] is None
    curve = call(served, "/api/runs/run/tracks/0?quantity=row&x=frame")[1]
    assert len(curve["x"]) == len(curve["y"]) == len(curve["sigma"]) > 10


@pytest.fixture
def token(folder):
    """Make the run one that goes on, and return its token."""
    summary = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(summary | {"state": "running"}))
    return own_token(folder / CONTROL_FILE)


def ask(served, token, body, **more):
    headers = {"Content_Type": "application/json", "X_Braggstream_Control": token} | more
    return call(served, "/api/runs/run/thresholds", "POST", body, **headers)


def test_a_run_that_is_over_cannot_be_changed(served):
    assert ask(served, "x", {"minval": 40, "minscore": 1})[0] == 409


def test_thresholds_are_changed_by_who_has_the_token_alone(token, served, described, folder):
    wanted = {"minval": 40, "minscore": "auto"}
    assert (folder / CONTROL_FILE).stat().st_mode & 0o777 == 0o600
    refused = ask(served, token[:-1], wanted)
    assert (refused[0], "token" in refused[1]["error"]) == (403, True)
    assert ask(served, "", wanted)[0] == 403
    where = urlsplit(served.url).netloc
    with pytest.raises(json.JSONDecodeError):  # the guard says so itself
        ask(served, token, wanted, Origin="http://evil.example")
    assert ask(served, token, wanted, Content_Type="text/plain")[0] == 415
    for body in ("{", {"minval": 40}, wanted | {"more": 1}, {"minval": "low", "minscore": 1}):
        assert ask(served, token, body)[0] == 400
    assert ask(served, token, {"minval": 40, "minscore": 0})[0] == 422
    assert read_request(folder) is None
    status, answer = ask(served, token, wanted, Origin=f"http://{where}")
    assert status == 202, answer
    fits(described, "Change", answer)
    asked = read_request(folder)
    assert (asked.minval, asked.minscore) == (40, "auto")
    now = fits(described, "Thresholds", call(served, "/api/runs/run/thresholds")[1])
    assert (now["waiting"]["minval"], now["minval"], now["can_change"]) == (40, "auto", True)
    write_changes(folder, [Change(id=asked.id, time_ns=1, minval=40, minscore=3, series="a",
                                  frame=7)])  # fmt: skip
    now = fits(described, "Thresholds", call(served, "/api/runs/run/thresholds")[1])
    assert (now["waiting"], now["minval"], now["changes"][0]["frame"]) == (None, 40, 7)


def test_a_run_that_has_no_token_cannot_be_changed(token, served, folder):
    (folder / CONTROL_FILE).unlink()
    refused = ask(served, "x", {"minval": 1, "minscore": 1})
    assert (refused[0], "dashboard.control=false" in refused[1]["error"]) == (403, True)
    assert not (folder / CONTROL_FILE).exists()


def test_runs_of_a_folder_are_asked_by_name(folder):
    hubs = Hubs(folder.parent, lambda path: Hub(RunView(path)))
    with Served(application_of_runs(hubs)) as one:
        assert [run["name"] for run in call(one, "/api/runs")[1]["runs"]] == ["run"]
        assert call(one, "/api/runs/run/status")[1]["name"] == "run"
        assert call(one, "/api/runs/run/frames/3/peaks?series=first")[0] == 200
        assert call(one, "/api/runs/elsewhere/status")[0] == 404
