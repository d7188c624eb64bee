"""A training run: where it starts, who is told of it, what signals do, its log, how it ends.

The room speaks to an engine through the pycaffe API alone, so a run is the same with either one;
what only the embedded engine offers (a look at signals between the batches of a test) is asked
for by name and used where it is there.

    run = Run(solver, param, [Alarm(), MyObserver()])
    status = run.go()

**Observers.** What is to happen during a run, beside the training itself, is an `Observer` in a
file of its own: a progress bar, an alarm, a writer of curves. It overrides the moments it needs;
each gets the `Run`, whose `solver`, `param`, `iteration`, `loss` and `last_test` it may read.

    class GradientTrace(Observer):
        def gradients_ready(self, run):
            squares = sum((blob.diff**2).sum() for blobs in run.solver.net.params.values()
                          for blob in blobs)
            self.file.write(f"{run.iteration} {run.loss} {squares**0.5}\\n")

The moments, in the order of an iteration:

* ``at_start``: the starting point is loaded and the log open; nothing has been computed yet.
* ``before_iteration``: `iteration` updates are done; a snapshot and a test that were due are, too.
* ``gradients_ready``: ``solver.net.params[...].diff`` hold the gradient, summed over ``iter_size``
  and not yet clipped, divided or decayed; what is written there reaches the update. `loss` is
  this iteration's.
* ``after_test``: a test net was scored; `last_test` holds its outputs and the AP of each class.
* ``at_end``: the run is over, however it ends; `status` says how, or None where an error ends it.

Where several processes train together, each has a run. The first one tests, writes snapshots and
log, and tells its observers; the others have only those that decide how a run goes on, like the
alarm. Losses and gradients are the means over all, so all decide alike.

All are called in the main thread, one observer after the other in the order in which the run got
them. An observer that raises ends the run: `Stopped` and `Diverged` in good order, a `UserError`
with its sentence.
"""

from scratchdet_caffe.training.observer import Observer
from scratchdet_caffe.training.run import EXIT_DIVERGED, Diverged, Run
from scratchdet_caffe.training.signals import Signals, Stopped

__all__ = ["EXIT_DIVERGED", "Diverged", "Observer", "Run", "Signals", "Stopped"]
