"""Detection layers: thin classes over the pure functions of ``engine.detection``."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.engine.detection import evaluate as judging
from scratchdet_caffe.engine.detection.coding import decode
from scratchdet_caffe.engine.detection.files import ResultFiles
from scratchdet_caffe.engine.detection.groundtruth import ground_truth
from scratchdet_caffe.engine.detection.multibox import Predictions, assign, multibox_loss
from scratchdet_caffe.engine.detection.output import candidates, detections
from scratchdet_caffe.engine.detection.pixels import pixel_overlap, read_sizes, to_pixels
from scratchdet_caffe.engine.detection.priors import prior_boxes
from scratchdet_caffe.engine.layers.base import Context, Layer, Tops, layer
from scratchdet_caffe.engine.shapes.detection import arm_bottoms
from scratchdet_caffe.engine.shapes.registry import Spec
from scratchdet_caffe.errors import UserError


@layer("PriorBox")
class PriorBox(Layer):
    """Prior boxes of one map, computed once per size of map and image."""

    takes_half = True  # of its bottoms it only reads the sizes

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        self._cache: dict[tuple[object, ...], Tensor] = {}

    def forward(self, *bottoms: Tensor) -> Tops:
        feature, image = bottoms
        map_size = (feature.shape[2], feature.shape[3])
        image_size = (image.shape[2], image.shape[3])
        key = (map_size, image_size, feature.device)
        if key not in self._cache:
            boxes = prior_boxes(self.param.prior_box_param, map_size, image_size)
            self._cache[key] = boxes.to(feature.device)
        return (self._cache[key],)


@layer("MultiBoxLoss")
class MultiBoxLoss(Layer):
    """SSD's loss over (loc, conf, prior, ground truth [, ARM conf [, ARM loc]])."""

    is_loss = True

    def forward(self, *bottoms: Tensor) -> Tops:
        p = self.param.multibox_loss_param
        if self.context.phase == pb.TRAIN and any(self.context.propagate_down[2:4]):
            raise self.error(
                "cannot send gradients to its priors or its ground truth; add "
                "'propagate_down: true propagate_down: true propagate_down: false "
                "propagate_down: false'"
            )
        predictions = self._predictions(bottoms)
        images, priors = predictions.conf.shape[:2]
        try:
            truth = ground_truth(
                bottoms[3], images, p.num_classes, p.background_label_id, p.use_difficult_gt
            )
        except ValueError as error:
            raise self.error(str(error)) from error
        assignment = assign(predictions, truth, p)
        location, confidence = multibox_loss(predictions, truth, assignment, p)
        divisor = self._divisor(assignment.matches, images, priors)
        loss = torch.zeros_like(location)
        # Caffe leaves a term out of the value, too, if its bottom wants no gradient.
        wants = list(self.param.propagate_down) or [True, True]
        if wants[0]:
            loss = loss + p.loc_weight * location / divisor
        if wants[1]:
            loss = loss + confidence / divisor
        return (loss,)

    def _predictions(self, bottoms: tuple[Tensor, ...]) -> Predictions:
        p = self.param.multibox_loss_param
        loc, conf, prior = bottoms[:3]
        boxes, variances = prior.detach().reshape(2, -1, 4)
        if not p.encode_variance_in_target and not bool((variances > 0).all()):
            raise self.error("the variances of its priors must be positive")
        images, priors = len(loc), len(boxes)
        boxes = boxes.expand(images, priors, 4)
        refined, objectness = boxes, None
        if len(bottoms) > 4:
            objectness = _objectness(bottoms[4], p.objectness_score)
        if len(bottoms) > 5:
            offsets = bottoms[5].detach().reshape(images, priors, 4)
            divisor = None if p.encode_variance_in_target else variances
            refined = decode(offsets, boxes, divisor, p.code_type)
        return Predictions(
            loc.reshape(images, priors, -1, 4),
            conf.reshape(images, priors, -1),
            boxes,
            variances,
            refined,
            objectness,
        )

    def _divisor(self, matches: Tensor, images: int, priors: int) -> Tensor:
        p = self.param.loss_param
        mode = p.normalization
        if p.HasField("normalize") and not p.HasField("normalization"):
            mode = pb.LossParameter.VALID if p.normalize else pb.LossParameter.BATCH_SIZE
        by_mode = {
            pb.LossParameter.FULL: images * priors,
            pb.LossParameter.BATCH_SIZE: images,
            pb.LossParameter.NONE: 1,
        }
        if mode == pb.LossParameter.VALID:
            return self.context.valid(matches)
        return matches.new_tensor(max(1, by_mode[mode]))


def _objectness(arm_conf: Tensor, least: float) -> Tensor:
    """Which priors (N, P) the ARM takes for an object, from its probabilities (N, P * 2)."""
    return arm_conf.detach().reshape(len(arm_conf), -1, 2)[..., 1] >= least


@layer("DetectionOutput")
class DetectionOutput(Layer):
    """Detections from (loc, conf, prior [, ARM conf [, ARM loc]]).

    A fourth bottom of four axes is SSD's picture to draw on, and left alone: nothing is drawn.
    With a ``save_output_param`` they are also written to files, after each round of images.
    """

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        try:
            self._files = ResultFiles.wanted_by(param.detection_output_param)
        except UserError as error:
            raise self.error(str(error)) from error

    @torch.no_grad()
    def forward(self, *bottoms: Tensor) -> Tops:
        p = self.param.detection_output_param
        loc, conf, prior = bottoms[:3]
        boxes, variances = prior.reshape(2, -1, 4)
        images, priors = len(loc), len(boxes)
        scores = conf.reshape(images, priors, -1)
        arm = bottoms[3 : 3 + len(arm_bottoms([tuple(b.shape) for b in bottoms]))]
        if arm:
            # Ruled out by the ARM: class 0 for sure, whatever the background's label is.
            nothing = torch.zeros_like(scores[0, 0])
            nothing[0] = 1
            possible = _objectness(arm[0], p.objectness_score)
            scores = torch.where(possible[..., None], scores, nothing)
        threshold = p.confidence_threshold if p.HasField("confidence_threshold") else -torch.inf
        top_k = p.nms_param.top_k if p.nms_param.HasField("top_k") else -1
        found = candidates(scores, threshold, top_k, p.background_label_id)
        image, label, place = found.unbind(1)
        divisor = None if p.variance_encoded_in_target else variances[place]
        anchors = boxes[place]
        if len(arm) > 1:
            anchors = decode(
                arm[1].reshape(images, priors, 4)[image, place], anchors, divisor, p.code_type
            )
        group = label if not p.share_location else torch.zeros_like(label)
        offsets = loc.reshape(images, priors, -1, 4)[image, place, group]
        decoded = decode(offsets, anchors, divisor, p.code_type)
        nms = (p.nms_param.nms_threshold, p.nms_param.eta)
        rows = detections(found, scores, decoded, nms, p.keep_top_k)
        if self._files:
            try:
                self._files.add(rows[0, 0], images)
            except UserError as error:
                raise self.error(str(error)) from error
        return (rows,)


@layer("DetectionEvaluate")
class DetectionEvaluate(Layer):
    """True and false positives of (detections, ground truth).

    With a ``name_size_file`` overlaps are measured in pixels of the original pictures: the
    sizes are taken in turn, one for each image that has detections, over all forwards.
    """

    def __init__(self, param: pb.LayerParameter, spec: Spec, context: Context) -> None:
        super().__init__(param, spec, context)
        p = param.detection_evaluate_param
        self._rules = judging.Rules(
            p.num_classes, p.background_label_id, p.overlap_threshold, p.evaluate_difficult_gt
        )
        try:
            self._sizes = read_sizes(p.name_size_file) if p.name_size_file else None
        except UserError as error:
            raise self.error(str(error)) from error
        self._resize = p.resize_param if p.HasField("resize_param") else None
        self._seen = 0

    def forward(self, *bottoms: Tensor) -> Tops:
        detected = bottoms[0].detach().reshape(-1, 7).cpu()
        truth = bottoms[1].detach().reshape(-1, 8).cpu()
        measure = judging.normalized_overlap if self._sizes is None else self._pixel_overlap
        try:
            rows = judging.evaluate(detected, truth, self._rules, measure)
        except ValueError as error:
            raise self.error(str(error)) from error
        if self._sizes is not None:
            seen = self._seen + judging.images_with_detections(detected)
            self._seen = seen % len(self._sizes)
        return (rows.to(bottoms[0].device)[None, None],)

    def _pixel_overlap(self, detected: Tensor, true: Tensor, place: Tensor) -> Tensor:
        assert self._sizes is not None
        size = self._sizes[(self._seen + place) % len(self._sizes)]
        return pixel_overlap(
            to_pixels(detected, size, self._resize)[:, None],
            to_pixels(true, size[:, None], self._resize),
            self._resize,
        )
