import asyncio

import pytest

from stepwell.rag import ExtractiveLLM, InvalidOptionError, Settings


class Model:
    async def acomplete(self, prompt):
        return prompt


def test_unset_the_model_is_the_one_that_quotes(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a key alone must not send anything anywhere")
    assert isinstance(Settings.llm, ExtractiveLLM)
    assert Settings.embed_model is None


def test_what_is_assigned_is_used_until_it_is_unset():
    Settings.llm = model = Model()
    assert Settings.llm is model
    Settings.llm = None
    assert isinstance(Settings.llm, ExtractiveLLM)


def test_an_object_that_is_no_model_is_refused_at_once():
    with pytest.raises(InvalidOptionError, match="method complete or acomplete"):
        Settings.llm = "gpt-4o-mini"
    with pytest.raises(InvalidOptionError, match="get_text_embedding_batch"):
        Settings.embed_model = Model()


def test_an_override_holds_for_its_block_and_its_tasks_only():
    outer, inner = Model(), Model()
    Settings.llm = outer

    async def seen():
        return Settings.llm

    async def main():
        with Settings.use(llm=inner, chunk_size=9):
            task = asyncio.ensure_future(seen())
            assert Settings.chunk_size == 9
        return await task, await seen()

    assert asyncio.run(main()) == (inner, outer)
    assert Settings.chunk_size == 512


def test_an_unknown_setting_names_those_there_are():
    with (
        pytest.raises(InvalidOptionError, match="'lm'; there are llm, embed_model"),
        Settings.use(lm=None),
    ):
        pass


def test_reset_goes_back_to_the_beginning():
    Settings.llm, Settings.chunk_size, Settings.offline = Model(), 5, True
    Settings.reset()
    assert isinstance(Settings.llm, ExtractiveLLM)
    assert (Settings.chunk_size, Settings.offline) == (512, False)


def test_preload_loads_what_is_set_and_what_is_passed():
    loaded = []

    class Loading(Model):
        def __init__(self, name):
            self.name = name

        def load(self):
            loaded.append(self.name)

    Settings.llm = Loading("llm")
    Settings.preload(Loading("reranker"), Model()).result(30)
    assert loaded == ["reranker", "llm"]


def test_preload_keeps_the_settings_of_its_block():
    class Watching(Model):
        def load(self):
            self.saw = Settings.offline

    model = Watching()
    with Settings.use(offline=True):
        ready = Settings.preload(model)
    ready.result(30)
    assert model.saw


def test_what_goes_wrong_while_preloading_is_raised_by_who_waits():
    class Broken(Model):
        def load(self):
            raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        Settings.preload(Broken()).result(30)


def test_preload_without_models_is_ready_at_once():
    Settings.preload().result(30)
