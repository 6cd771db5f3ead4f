"""Conditions of the methods of a Pipeline: what its steps can do."""


def selects(step):
    return hasattr(step, "fit_resample")


def skipped(steps):
    return all(step in (None, "passthrough") for _, step in steps)


def can_fit_resample(self):
    return any(selects(step) and skipped(self.steps[i + 1 :]) for i, (_, step) in enumerate(self.steps))


def last_step_has(name):
    def check(self):
        last = self.steps[-1][1]
        getattr("passthrough" if last is None else last, name)  # its AttributeError is the cause of ours
        return True

    return check


def can_transform(self):
    last = self.steps[-1][1]
    return last in (None, "passthrough") or selects(last) or hasattr(last, "transform")


def can_fit_transform(self):
    return can_transform(self) or hasattr(self.steps[-1][1], "fit_transform")


def can_inverse_transform(self):
    steps = [step for _, step in self.steps if step not in (None, "passthrough") and not selects(step)]
    return all(hasattr(step, "inverse_transform") for step in steps)
