"""The epoch that labelled images would choose: an oracle, kept beside the last epoch, which counts (ALPS, spec 5.3).

The paper chooses it by 150 normal and 150 abnormal images of the training set. Without abnormal images nobody can, so
this takes no part in the training and its result is only ever shown in rows that say oracle.
"""

from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

from vad_pipeline.clips.clip import Clips
from vad_pipeline.models.contract import Model
from vad_pipeline.models.scorer import ScoringOptions

EACH = 150  # normal, and abnormal, images that choose


class LabelledEpoch(Callback):
    """Keeps the weights of the epoch that best tells labelled training images apart.

    Args:
        images: clips ``train/<class>``, each of single images.
        normal: the normal class.
        term: of the model's scores.
        path: safetensors file of the best weights so far.
        seed: which images are drawn.
    """

    def __init__(self, images: Clips, normal: str, term: str, path: Path, seed: int):
        random = np.random.default_rng(seed)
        own = images[f"train/{normal}"].array()
        others = [clip.array() for name, clip in images.split("train").items() if name != f"train/{normal}"]
        rows = [(number, row) for number, array in enumerate(others) for row in range(len(array))]
        chosen = random.permutation(len(rows))[:EACH]
        self.normal = own[-EACH:]  # of the end of the clip, which is held out where anything is
        self.abnormal = np.stack([others[rows[i][0]][rows[i][1]] for i in chosen])
        self.term, self.path, self.best = term, path, -1.0

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        area = self._area(module)
        if area > self.best:
            self.best = area
            state = {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
            temporary = self.path.with_suffix(".partial")
            save_file(state, temporary, metadata={"epoch": str(trainer.current_epoch)})
            temporary.replace(self.path)

    def _area(self, module: lightning.LightningModule) -> float:
        """AUROC of the term on the labelled images."""
        assert isinstance(module, Model)
        scorer = module.scorer(ScoringOptions(module.device, batch=2 * EACH))
        scores = [
            np.concatenate([batch.terms[self.term] for batch in scorer.clip({"frames": images})])
            for images in (self.normal, self.abnormal)
        ]
        labels = np.repeat([0, 1], [len(part) for part in scores])
        return float(roc_auc_score(labels, np.concatenate(scores)))

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
