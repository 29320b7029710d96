import torch

from distill.models.sampling import sample_batches, sample_parts

from .tiny import CONFIGS, lively, text_batch


def test_samples_are_real_tokens_up_to_the_number_asked_for():
    teacher = lively(CONFIGS["bert"])
    batches = [text_batch(8, seed=1), text_batch(8, seed=2)]
    num_real = [int(batch.attention_mask.sum()) for batch in batches]
    part = {"norm": teacher.bert.embeddings.LayerNorm}
    sample = sample_parts(teacher, part, batches, 10_000)["norm"]
    assert sample.inputs.shape == sample.outputs.shape == (sum(num_real), 16)
    with torch.no_grad():
        whole = teacher.bert.embeddings(batches[0].inputs["input_ids"])
    mask = batches[0].attention_mask.bool()
    torch.testing.assert_close(sample.outputs[: num_real[0]], whole[mask])
    torch.testing.assert_close(teacher.bert.embeddings.LayerNorm(sample.inputs).detach(), sample.outputs)
    cut = sample_parts(teacher, part, batches, num_real[0] + 3)["norm"]
    assert torch.equal(cut.outputs, sample.outputs[: num_real[0] + 3])
    assert not teacher.bert.embeddings.LayerNorm._forward_hooks


def test_batches_are_taken_until_they_hold_enough():
    batches = [text_batch(8, seed=seed) for seed in range(3)]
    num_real = [int(batch.attention_mask.sum()) for batch in batches]
    assert len(sample_batches(batches, num_real[0])) == 1
    assert len(sample_batches(batches, num_real[0] + 1)) == 2
    assert len(sample_batches(iter(batches), 10_000)) == 3


def test_the_last_batch_is_cut_to_the_rows_that_are_needed():
    batch = text_batch(8)
    lengths = batch.attention_mask.sum(1).tolist()
    (cut,) = sample_batches([batch], lengths[0] + 1)
    assert cut.inputs["input_ids"].tolist() == batch.inputs["input_ids"][:2].tolist()
    assert cut.window_ids.tolist() == [0, 1]
    (cut,) = sample_batches([batch], lengths[0])
    assert cut.window_ids.tolist() == [0]
