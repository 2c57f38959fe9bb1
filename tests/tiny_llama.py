"""A real llama.cpp server on loopback with a tiny random llama (0.6 MB, made in 0.02 s), OpenAI and Anthropic."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np

WORDS = (  # noqa: SIM905
    "the a of to in is it and that was for on are with as his they at be this from have or by one had not but "
    "what all were when we there can an your which their said if do will each about how up out them then she many "
    "some so these would other into has more her two like him see time could no make than first been its who now "
    "people my made over did down only way find use may water long little very after words called just where most "
    "know duck goose lake model prompt token answer question city country river red blue green yes maybe"
).split()


def build(path, n_embd=64, n_head=4, n_layer=2, n_ff=128, n_ctx=4096, seed=7):
    rng = np.random.default_rng(seed)
    kind = gguf.TokenType
    toks = [
        ("<unk>", 0.0, kind.UNKNOWN),
        ("<s>", 0.0, kind.CONTROL),
        ("</s>", 0.0, kind.CONTROL),
        ("<|user|>", 0.0, kind.CONTROL),
        ("<|assistant|>", 0.0, kind.CONTROL),
        ("<|system|>", 0.0, kind.CONTROL),
    ]
    toks += [(f"<0x{b:02X}>", 0.0, kind.BYTE) for b in range(256)]
    toks += [("\u2581", -50.0, kind.NORMAL)] + [(c, -60.0, kind.NORMAL) for c in "abcdefghijklmnopqrstuvwxyz"]
    first_word = len(toks)
    seen = {t for t, _, _ in toks}
    for w in WORDS:  # SPM merges left to right: every prefix must be a token too
        full = "\u2581" + w
        for k in range(2, len(full) + 1):
            if full[:k] not in seen:
                seen.add(full[:k])
                toks.append((full[:k], -float(len(toks) - first_word) / 100 - 1, kind.NORMAL))
    n_vocab = len(toks)
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("tiny-random-llama")
    w.add_context_length(n_ctx)
    w.add_embedding_length(n_embd)
    w.add_block_count(n_layer)
    w.add_feed_forward_length(n_ff)
    w.add_head_count(n_head)
    w.add_head_count_kv(n_head)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(n_embd // n_head)
    w.add_vocab_size(n_vocab)
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    w.add_tokenizer_model("llama")
    w.add_token_list([t.encode() for t, _, _ in toks])
    w.add_token_scores([s for _, s, _ in toks])
    w.add_token_types([int(k) for _, _, k in toks])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_add_bos_token(True)
    w.add_chat_template(
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )

    def rand(*shape, scale=1.0):
        return (rng.standard_normal(shape) * scale / np.sqrt(shape[-1])).astype(np.float32)

    emb = rand(n_vocab, n_embd, scale=8.0)
    emb[:, 0] = 4.0  # dim 0 is a constant "bias" channel
    out = rand(n_vocab, n_embd, scale=3.0)
    out[:, 0] = -30.0  # never emit bytes, control or prefixes ...
    words = {"\u2581" + x for x in WORDS}
    for i, (t, _, _) in enumerate(toks):
        if t in words:
            out[i, 0] = 0.0  # ... only whole words
    out[2, 0] = 0.2  # and, sometimes, </s>
    w.add_tensor("token_embd.weight", emb)
    w.add_tensor("output.weight", out)
    w.add_tensor("output_norm.weight", np.ones(n_embd, np.float32))
    for i in range(n_layer):
        b = f"blk.{i}."
        for n in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"{b}{n}.weight", np.ones(n_embd, np.float32))
        for n in ("attn_q", "attn_k", "attn_v", "attn_output"):
            m = rand(n_embd, n_embd, scale=1.5)
            if n == "attn_output":
                m[0] = 0  # keep the bias channel constant
            w.add_tensor(f"{b}{n}.weight", m)
        w.add_tensor(b + "ffn_gate.weight", rand(n_ff, n_embd))
        w.add_tensor(b + "ffn_up.weight", rand(n_ff, n_embd))
        m = rand(n_embd, n_ff)
        m[0] = 0
        w.add_tensor(b + "ffn_down.weight", m)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return n_vocab


@contextmanager
def serving(folder: Path, *, embedding: bool = False) -> Iterator[str]:
    """The address of a llama.cpp server, e.g. "http://127.0.0.1:40123"."""
    import xllamacpp as xlc

    path = folder / "tiny.gguf"
    if not path.exists():
        build(path)
    params: Any = xlc.CommonParams()
    params.model.path = str(path)
    params.model_alias = {"tiny-random"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx, params.n_parallel, params.n_predict = 4096, 2, 64
    params.cpuparams.n_threads = 1
    params.warmup = False
    params.endpoint_metrics = True
    if embedding:
        params.embedding = True
        params.pooling_type = xlc.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xlc.Server(params)
    try:
        yield str(server.listening_address)
    finally:
        del server
