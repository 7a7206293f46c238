"""Our client against somebody else's server: `transformers serve`, with a tiny model.

The model has random weights and is made on the spot: what it says is noise, how it
is asked and answered is real.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import BaseModel

from stepwell.agents import FunctionAgent
from stepwell.rag import (
    ModelServerError,
    OpenAI,
    OpenAIEmbedding,
    StructuredOutputError,
    track_usage,
)

# Not imported to see: that takes as long as the tests.
NEEDED = ["openai", "torch", "transformers", "accelerate", "fastapi", "uvicorn"]
MISSING = [name for name in NEEDED if find_spec(name) is None]
PROGRAM = shutil.which("transformers", path=str(Path(sys.executable).parent))
pytestmark = pytest.mark.skipif(
    bool(MISSING) or PROGRAM is None,
    reason=f"`transformers serve` needs {', '.join(MISSING) or 'its program'}",
)


class City(BaseModel):
    name: str


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory):
    """A language model of 120 kB whose tokens are bytes."""
    import tokenizers
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("llama")
    pieces = tokenizers.pre_tokenizers.ByteLevel
    letters = sorted(pieces.alphabet())
    vocabulary = {each: n for n, each in enumerate(["<s>", "</s>", *letters])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pieces(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        chat_template="{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n"
        "{% endfor %}assistant:",
    ).save_pretrained(folder)
    torch.manual_seed(7)
    transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=4096,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def url(tiny_llama, tmp_path_factory):
    """The address of a server that has been started, and is stopped at the end."""
    home = tmp_path_factory.mktemp("home")
    settings = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
    options = ["--device", "cpu", "--host", "127.0.0.1", "--port", "0"]
    log = home / "log.txt"
    with (
        log.open("w") as out,
        subprocess.Popen(
            [PROGRAM, "serve", str(tiny_llama), *options],
            env=settings,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield f"{_address(process, log)}/v1"
        finally:
            process.terminate()


def _address(process, log):
    """Wait until the server says where it is."""
    for _ in range(600):
        said = log.read_text()
        if found := re.search(r"running on (http://\S+)", said):
            return found[1]
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail(f"the server did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture
def llm(url, tiny_llama):
    return OpenAI(str(tiny_llama), api_base=url, max_tokens=8, temperature=0.0)


def test_every_way_of_asking_is_answered_with_the_tokens_counted(llm):
    async def asynchronous():
        whole = await llm.acomplete("Hello")
        pieces = [piece async for piece in llm.astream_complete("Hello")]
        return [whole, pieces[-1]]

    with track_usage() as used:
        answers = [llm.complete("Hello"), *asyncio.run(asynchronous())]
        answers.append(list(llm.stream_complete("Hello"))[-1])
    assert [answer.usage.completion_tokens for answer in answers] == [8] * 4
    assert (used.calls, used.uncounted_calls) == (4, 0)


def test_tools_may_be_offered(llm):
    assert llm.chat_with_tools([add], "2 + 3?").message.role == "assistant"


async def test_an_agent_runs_on_it(llm):
    handler = FunctionAgent([add], llm).run("2 + 3?")
    assert (await handler).response.role == "assistant"
    assert handler.record.amounts["completion_tokens"] == 8


def test_a_server_that_ignores_the_schema_is_found_out(llm):
    with pytest.raises(StructuredOutputError, match="twice did not") as caught:
        llm.structured_predict(City, "The capital of Switzerland?")
    assert caught.value.raw


def test_its_refusals_are_quoted(llm, url):
    with pytest.raises(ModelServerError, match="no_such_field"):
        llm.complete("Hello", no_such_field=1)
    with pytest.raises(ModelServerError, match=r"404.*Check model= and api_base="):
        OpenAIEmbedding("m", api_base=url).get_text_embedding("Hello")
