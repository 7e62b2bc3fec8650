"""Who is answered, and what the server says to requests that no page makes."""

import json
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np
import pytest

import mechgrok
from mechgrok.analyses.explorer import explore
from mechgrok.errors import UserError
from mechgrok.interventions import Ablate, intervene
from mechgrok.registry import Entry
from mechgrok.runs import Run

Explorer = pytest.importorskip("mechgrok.analyses.explorer.server").Explorer


@pytest.fixture(scope="module")
def served(tiny_run: Run):
    explorer = explore(tiny_run)
    explorer.start()
    yield explorer
    explorer.close()


def ask(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urlopen(Request(url, headers=headers)) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def test_only_this_machine_and_only_with_the_token(served):
    port = served.server.server_address[1]
    assert served.server.server_address[0] == "127.0.0.1"
    assert ask(served.url)[0] == 200
    assert ask(f"http://127.0.0.1:{port}/")[0] == 403
    assert ask(f"http://127.0.0.1:{port}/{'0' * 32}/about?run=0")[0] == 403
    code, said = ask(f"{served.url}about?run=0", Host=f"evil.example:{port}")
    assert code == 403
    assert b"127.0.0.1" in said
    assert ask(f"{served.url}about?run=0", Host=f"localhost:{port}")[0] == 200


def test_a_row_holds_what_intervene_measures(served, tiny_run: Run):
    do = json.dumps([{"on": True, "kind": "Ablate", "options": {"neurons": [2]}}])
    _, body = ask(f"{served.url}rows?run=0&from=1&to=2&do={quote(do)}")
    rows = np.frombuffer(body, np.float32).reshape(2, -1)
    expected = intervene(tiny_run, [Ablate(neurons=[2])], steps=tiny_run.steps[1:3])
    intervened = expected.sel(state="intervened")
    found = rows[:, :4].reshape(2, 2, 2)
    np.testing.assert_allclose(found[..., 0], intervened.accuracy, rtol=1e-6)
    np.testing.assert_allclose(found[..., 1], intervened.loss, rtol=1e-5)


@pytest.mark.parametrize(
    "asked",
    [
        "rows?run=9",
        "rows?run=x",
        "rows?run=0&do=nonsense",
        "rows?run=0&do=[1]",
        "rows?run=0&do={}",
        'rows?run=0&do=[{"kind":"os:system"}]',
        'rows?run=0&do=[{"kind":"Ablate","options":{"neurons":[99]}}]',
        "rows?run=0&from=x",
        "mask?run=0&weight=nothing",
        "mask?run=0&weight=W_in&at=999",
    ],
)
def test_nonsense_is_answered_in_a_sentence(served, asked: str):
    code, said = ask(served.url + asked.replace('"', "%22"))
    assert code == 422
    assert len(said.decode()) < 500


def test_a_port_that_is_taken_is_refused(served, tiny_run: Run):
    port = served.server.server_address[1]
    with pytest.raises(UserError, match=f"{port}"):
        explore(tiny_run, port=port)


def test_it_shows_itself_in_a_notebook(tiny_run: Run, monkeypatch: pytest.MonkeyPatch):
    found = {"explore": Entry("explore", "mechgrok.analyses.explorer", "explore")}
    monkeypatch.setattr(
        "mechgrok.registry.entries", lambda group: found if group == "mechgrok.pages" else {}
    )
    page = mechgrok.explore(tiny_run)
    assert f'<iframe src="{page.url}"' in page._repr_html_()
    assert ask(page.url)[0] == 200
    page.close()
