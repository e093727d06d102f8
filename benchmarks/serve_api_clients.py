"""Clients of other libraries against a running server, unmodified: LangChain, LiteLLM, openai and Cohere's.

    pip install langchain-openai litellm cohere      # 450 MB, best in an environment of its own
    python -m benchmarks.serve_api_clients http://127.0.0.1:8000 ENCODER DECODER RERANKER

Prints a line per call and ends with code 1 if one fails. tests/serving/test_clients.py replays what they send.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

_TEXTS = ["раз", "два"]


def calls(url: str, encoder: str, decoder: str, reranker: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name and function of each call; the function gives something that is true when the answer is as it should be."""
    yield from _langchain(f"{url}/v1", encoder, decoder)
    yield from _litellm(url, encoder, decoder, reranker)
    yield from _openai(f"{url}/v1", encoder, decoder)
    yield from _cohere(url, reranker)


def _langchain(base: str, encoder: str, decoder: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    from langchain_openai import OpenAI, OpenAIEmbeddings

    # Its default counts with OpenAI's tokenizer and sends those token ids, which mean nothing to another model.
    embedder = OpenAIEmbeddings(model=encoder, base_url=base, api_key="none", check_embedding_ctx_length=False)
    writer = OpenAI(model=decoder, base_url=base, api_key="none", max_tokens=5)
    full = OpenAI(
        model=decoder, base_url=base, api_key="none", max_tokens=5, temperature=0, top_p=1, frequency_penalty=0,
        presence_penalty=0, n=1, best_of=1, seed=1, logit_bias={},
    )  # fmt: skip
    yield "langchain: documents", lambda: len(embedder.embed_documents(_TEXTS)) == 2
    yield "langchain: query", lambda: embedder.embed_query("раз")
    yield "langchain: text", lambda: writer.invoke("раз два")
    yield "langchain: text with all fields", lambda: full.invoke("раз два", stop=["#"])
    yield "langchain: several texts", lambda: len(writer.generate(_TEXTS).generations) == 2
    yield "langchain: stream", lambda: list(writer.stream("раз два"))


def _litellm(url: str, encoder: str, decoder: str, reranker: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    import litellm

    own = {"api_base": f"{url}/v1", "api_key": "none"}
    yield "litellm: vectors", lambda: len(litellm.embedding(model=f"openai/{encoder}", input=_TEXTS, **own).data) == 2
    yield (
        "litellm: vectors as of vLLM",
        lambda: litellm.embedding(model=f"hosted_vllm/{encoder}", input=_TEXTS, **own).data,
    )
    yield (
        "litellm: vectors as of infinity",
        lambda: litellm.embedding(model=f"infinity/{encoder}", input=_TEXTS, api_base=url, api_key="none").data,
    )
    text = {"prompt": "раз два", "max_tokens": 5, **own}
    yield "litellm: text", lambda: litellm.text_completion(model=f"text-completion-openai/{decoder}", **text).choices
    yield "litellm: text with all fields", lambda: litellm.text_completion(
        model=f"openai/{decoder}", temperature=0.5, top_p=1, n=1, stop=[], presence_penalty=0, frequency_penalty=0,
        user="u", echo=False, best_of=1, logit_bias={}, **text,
    ).choices  # fmt: skip
    yield (
        "litellm: stream",
        lambda: list(litellm.text_completion(model=f"text-completion-openai/{decoder}", stream=True, **text)),
    )

    def ranks(provider: str) -> Any:
        return litellm.rerank(
            model=f"{provider}/{reranker}", query="раз", documents=_TEXTS, top_n=2, api_base=url, api_key="none"
        ).results

    for provider in ("hosted_vllm", "jina_ai", "cohere", "huggingface"):
        yield f"litellm: ranks as of {provider}", partial(ranks, provider)


def _openai(base: str, encoder: str, decoder: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    from openai import OpenAI

    client = OpenAI(base_url=base, api_key="none")
    yield "openai: vectors", lambda: client.embeddings.create(model=encoder, input=_TEXTS).usage.total_tokens
    yield "openai: text with all fields", lambda: client.completions.create(
        model=decoder, prompt="раз два", max_tokens=3, best_of=1, echo=False, frequency_penalty=0, logit_bias={},
        logprobs=None, n=1, presence_penalty=0, seed=5, stop=[], stream=False, suffix=None, temperature=1, top_p=1,
        user="u",
    ).choices  # fmt: skip


def _cohere(url: str, reranker: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    import cohere

    first, second = cohere.Client(api_key="none", base_url=url), cohere.ClientV2(api_key="none", base_url=url)
    yield "cohere: ranks, version 1", lambda: first.rerank(
        model=reranker, query="раз", documents=["раз", {"text": "два"}], top_n=2, return_documents=True,
        rank_fields=["text"], max_chunks_per_doc=1,
    ).results  # fmt: skip
    yield (
        "cohere: ranks, version 2",
        lambda: second.rerank(model=reranker, query="раз", documents=_TEXTS, top_n=2, max_tokens_per_doc=4096).results,
    )


def main(arguments: list[str]) -> int:
    """Make every call; 1 if one fails."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would fetch a list of prices
    failed = 0
    for name, call in calls(*arguments):
        try:
            good, words = bool(call()), ""
        except Exception as error:  # whatever a client raises is what is to be seen
            good, words = False, f": {type(error).__name__}: {error}"
        failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {name}{words}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
