"""What stands out, in words for people who do not know the models' terms."""

WORDS = {
    "surprise": "moves or looks unlike what was seen there in training",
    "motion": "moves unlike what was seen there in training",
    "speed": "faster than things were there in training",
    "velocity": "goes a way that things did not go there in training",
    "appearance": "looks unlike what was seen there in training",
    "place": "something where hardly ever was something in training",
    "camera": "the picture has changed as a whole: camera moved, covered, or the light switched",
    "psnr": "the picture is not what the model expected",
    "worst_place": "one place of the picture is not what the model expected",
    "memory_distance": "unlike all that the model remembers of training",
    "regular_score": "not what the model expected",
    "flow_error": "moves in a way that the model did not expect",
    "pseudo_probability": "looks like the made-up anomalies of training rather than like normal footage",
    "realness": "the picture that the model expected does not look real",
    "clean_error": "not what the model expected",
    "perturbed_error": "not what the model expected",
    "mean_error": "not what the model expected",
}


def in_words(reason: str) -> str:
    """Of a term's name what it says; empty where there are no words for it.

    >>> in_words("speed")
    'faster than things were there in training'
    """
    return WORDS.get(reason, "")
