"""A protocol: two groups of subjects of about equal size, each held out once."""

from sklearn.model_selection import GroupKFold

from stfer.data.folds import register_protocol


@register_protocol("halves", description="two groups of subjects, each held out once")
def halves():
    """A scikit-learn splitter that keeps groups together."""
    return GroupKFold(2)
