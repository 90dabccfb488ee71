"""High-error slices among what the model hears alike: a mixture over embeddings that sees the errors, too.

An utterance's embedding is the mean over its frames of what the model's encoder makes of it. The embeddings are whitened to
their first principal components and clustered by a Gaussian mixture whose likelihood counts the utterance's error rate beside
its place, in the manner of Domino (Eyuboglu et al., ICLR 2022): clusters then end where errors begin.

Who belongs to a cluster is decided by place alone. Otherwise an utterance would be put into the bad cluster *for* being
misheard, and any test of the cluster would confirm itself. So clusters can be cut out of further sets, too.

Embeddings are made of voices: they are computed when needed and kept nowhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from lineage.errors import EarmarkError
from lineage.store import Store
from training.data.corpus import open_corpus
from training.evaluation.hearing import BATCH, batches
from training.families import device_of
from training.models.recorded import open_model
from training.progress import Progress, silent

Array = npt.NDArray[np.float64]

COMPONENTS = 16
ERROR_WEIGHT = 2  # how many components' worth of likelihood the error rate has
FEWEST_EACH = 8  # utterances to a cluster, on average
SHRINK = 1e-2  # of the unit variance, added to every variance: a cluster is never a single point


@dataclass(frozen=True, eq=False)
class Clusters:
    """A fitted mixture: `centre` [D] and `axes` [D, C] of the embeddings, then weights [K], means and variances [K, C]."""

    centre: Array
    axes: Array
    weights: Array
    means: Array
    variances: Array

    def of(self, embeddings: Array) -> npt.NDArray[np.int64]:
        """The cluster of each utterance [n], by place alone."""
        place = (embeddings - self.centre) @ self.axes
        near = ((place[:, None, :] - self.means) ** 2 / self.variances + np.log(self.variances)).sum(axis=2)
        return np.asarray((np.log(np.maximum(self.weights, 1e-300)) - near / 2).argmax(axis=1))


def fit(embeddings: Array, rates: Array, count: int, *, seed: int = 0) -> Clusters:
    """A mixture of up to `count` clusters over embeddings [n, D] of utterances with error rates [n].

    Raises:
        EarmarkError: there are too few utterances for two clusters.
    """
    n = len(embeddings)
    count = min(count, n // FEWEST_EACH)
    if count < 2:
        raise EarmarkError(
            f"{n} utterances are too few to cluster — take {2 * FEWEST_EACH} or more, or search by attributes"
        )
    pca = PCA(n_components=min(COMPONENTS, embeddings.shape[1], n - 1), svd_solver="full").fit(embeddings)
    size = np.sqrt(pca.explained_variance_)
    axes = pca.components_[size > 1e-9 * size.max()].T / size[size > 1e-9 * size.max()]
    place = (embeddings - pca.mean_) @ axes
    spread = rates.std()
    errors = (rates - rates.mean()) / spread if spread > 0 else np.zeros(n)
    # with free variances a column counts as much as any other, however it is scaled; repeated, it counts so many times
    seen = np.column_stack([place, *[errors] * ERROR_WEIGHT])
    mixture = GaussianMixture(
        count, covariance_type="diag", reg_covar=SHRINK, n_init=2, max_iter=200, random_state=seed
    ).fit(seen)
    width = place.shape[1]
    return Clusters(
        pca.mean_, axes, mixture.weights_, mixture.means_[:, :width], mixture.covariances_[:, :width]
    )  # fmt: skip


def embeddings(store: Store, model: str, set_digest: str, *, device: str = "cpu", progress: Progress = silent) -> Array:
    """What the model's encoder makes of each utterance of a set, in the order of their ids: [n, D], mean over frames.

    Raises:
        EarmarkError: the model's family has no encoder whose output it shares.
    """
    opened = open_model(store, model)
    family, network = opened.family, opened.model.to(device).eval()
    corpus = open_corpus(store, set_digest, family, transcripts=opened.transcripts, progress=progress)
    seconds = corpus.samples["duration_s"].to_pylist()
    found: dict[int, Array] = {}
    with torch.no_grad():
        for rows, batch in batches(corpus, device_of(network), BATCH, [""] * len(corpus)):
            heard = family.encoded(network, batch).get("heard")
            if heard is None or heard.ndim != 3:
                raise EarmarkError(f"family {family.name} shares no encoder's output — search by attributes")
            states = heard.double().cpu().numpy()
            for row, state in zip(rows.tolist(), states, strict=True):
                share = 1.0 if family.max_seconds is None else min(1.0, seconds[row] / family.max_seconds)
                found[row] = state[: max(1, math.ceil(share * len(state)))].mean(axis=0)
            progress(len(found), len(corpus), "embedding")
    return np.array([found[i] for i in range(len(corpus))])
