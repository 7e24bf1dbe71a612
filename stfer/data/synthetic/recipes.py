"""How the six expressions look at their apex: recipes of face units, several ways each.

The ways follow the action units that the basic expressions are coded with (Ekman, Friesen and Hager, *FACS*, 2002,
and its table for emotions, EMFACS; Lucey et al., *CK+*, 2010, table 1), in the names of ARKit's blend shapes:
AU 1 browInnerUp, 2 browOuterUp, 4 browDown, 5 eyeWide, 6 cheekSquint, 7 eyeSquint, 9 noseSneer, 10 mouthUpperUp,
12 mouthSmile, 14 mouthDimple, 15 mouthFrown, 16 mouthLowerDown, 17 mouthShrugLower, 20 mouthStretch, 22 mouthFunnel,
23 and 24 mouthRollUpper, mouthRollLower and mouthPress, 25 to 27 jawOpen, 43 eyeBlink, 64 eyeLookDown.
"""

from collections.abc import Mapping

Recipe = Mapping[str, float]

# Each emotion is played in one of several ways. `*` stands for Left and Right.
VARIANTS: Mapping[str, Mapping[str, Recipe]] = {
    "anger": {
        "lips pressed": {"browDown*": 1.15, "eyeSquint*": 0.7, "mouthPress*": 0.55, "noseSneer*": 0.3,
                         "mouthRollUpper": 0.35, "mouthRollLower": 0.35, "mouthShrugLower": 0.3,
                         "mouthFrown*": 0.3},
        "teeth bared": {"browDown*": 1.15, "eyeWide*": 0.35, "mouthFunnel": 0.3, "mouthUpperUp*": 0.35,
                        "mouthLowerDown*": 0.75, "jawOpen": 0.08, "noseSneer*": 0.35},
        "shouting": {"browDown*": 1.15, "eyeWide*": 0.4, "jawOpen": 0.42, "mouthUpperUp*": 0.45,
                     "mouthLowerDown*": 0.6, "mouthStretch*": 0.3, "noseSneer*": 0.5},
        "glaring": {"browDown*": 1.25, "eyeWide*": 0.65, "mouthPress*": 0.3, "mouthRollUpper": 0.25,
                    "mouthFrown*": 0.15},
        "brows and lids": {"browDown*": 1.25, "eyeSquint*": 0.85, "noseSneer*": 0.25,
                           "mouthShrugLower": 0.15},
        "lips tight, chin up": {"browDown*": 1.05, "eyeSquint*": 0.5, "mouthRollUpper": 0.6,
                                "mouthRollLower": 0.5, "mouthShrugLower": 0.7, "mouthFrown*": 0.2},
        "jaw forward": {"browDown*": 1.15, "eyeSquint*": 0.4, "jawForward": 0.9, "mouthPress*": 0.3,
                        "mouthLowerDown*": 0.3},
    },
    "disgust": {
        "nose wrinkled": {"noseSneer*": 1.1, "browDown*": 0.5, "eyeSquint*": 0.6,
                          "cheekSquint*": 0.4},
        "nose and lip": {"noseSneer*": 1, "mouthUpperUp*": 0.8, "browDown*": 0.6, "eyeSquint*": 0.6,
                         "mouthShrugLower": 0.3, "cheekSquint*": 0.4},
        "upper lip": {"mouthUpperUp*": 0.95, "noseSneer*": 0.5, "eyeSquint*": 0.4,
                      "mouthFrown*": 0.25},
        "gape": {"noseSneer*": 1, "mouthUpperUp*": 0.9, "browDown*": 0.45, "eyeSquint*": 0.7,
                 "jawOpen": 0.26, "mouthLowerDown*": 0.35, "cheekSquint*": 0.5},
        "tongue": {"noseSneer*": 0.9, "mouthUpperUp*": 0.6, "browDown*": 0.5, "eyeSquint*": 0.6,
                   "jawOpen": 0.4, "mouthLowerDown*": 0.4, "tongueOut": 1},
        "lips closed, chin up": {"noseSneer*": 1, "browDown*": 0.5, "mouthShrugLower": 0.8,
                                 "mouthFrown*": 0.55, "mouthShrugUpper": 0.2, "eyeSquint*": 0.5},
        "one-sided": {"noseSneerLeft": 1, "noseSneerRight": 0.6, "mouthUpperUpLeft": 0.95,
                      "mouthUpperUpRight": 0.3, "browDown*": 0.5, "eyeSquint*": 0.6,
                      "cheekSquintLeft": 0.5},
    },
    "fear": {
        "stretched": {"browInnerUp": 1.1, "browOuterUp*": 0.4, "browDown*": 0.4, "eyeWide*": 1,
                      "mouthStretch*": 1, "jawOpen": 0.2},
        "lower teeth": {"browInnerUp": 1, "browOuterUp*": 0.6, "browDown*": 0.35, "eyeWide*": 1,
                        "mouthStretch*": 0.9, "mouthLowerDown*": 0.7, "jawOpen": 0.1},
        "open": {"browInnerUp": 1.1, "browOuterUp*": 0.5, "browDown*": 0.35, "eyeWide*": 1,
                 "jawOpen": 0.45, "mouthStretch*": 0.7, "mouthLowerDown*": 0.3},
        "parted": {"browInnerUp": 1.1, "browOuterUp*": 0.55, "browDown*": 0.45, "eyeWide*": 0.9,
                   "jawOpen": 0.12, "mouthLowerDown*": 0.25, "mouthStretch*": 0.35},
        "lips tense": {"browInnerUp": 1.1, "browDown*": 0.5, "browOuterUp*": 0.35, "eyeWide*": 1,
                       "mouthStretch*": 0.9, "mouthPress*": 0.2},
        "eyes and brows": {"browInnerUp": 1.2, "browOuterUp*": 0.4, "browDown*": 0.5,
                           "eyeWide*": 1.1, "mouthStretch*": 0.25},
    },
    "happiness": {
        "upper teeth": {"mouthSmile*": 1.15, "cheekSquint*": 0.75, "mouthDimple*": 0.2,
                        "mouthUpperUp*": 0.55, "mouthLowerDown*": 0.3, "jawOpen": 0.1,
                        "eyeSquint*": 0.25},
        "both rows": {"mouthSmile*": 1.1, "cheekSquint*": 0.8, "mouthUpperUp*": 0.5,
                      "mouthLowerDown*": 0.75, "jawOpen": 0.14, "eyeSquint*": 0.3},
        "laughing": {"mouthSmile*": 1.15, "cheekSquint*": 1, "mouthUpperUp*": 0.6,
                     "mouthLowerDown*": 0.4, "jawOpen": 0.38, "eyeSquint*": 0.55},
        "closed": {"mouthSmile*": 1, "cheekSquint*": 0.7, "mouthDimple*": 0.4, "eyeSquint*": 0.35},
        "closed, weak": {"mouthSmile*": 0.6, "cheekSquint*": 0.3, "mouthDimple*": 0.45,
                         "mouthPress*": 0.2},
        "one-sided": {"mouthSmileLeft": 1.1, "mouthSmileRight": 0.5, "cheekSquintLeft": 0.8,
                      "cheekSquintRight": 0.4, "mouthDimpleLeft": 0.6, "mouthUpperUpLeft": 0.25,
                      "eyeSquint*": 0.2},
        "lips parted": {"mouthSmile*": 1.05, "cheekSquint*": 0.6, "mouthUpperUp*": 0.3,
                        "mouthLowerDown*": 0.25, "jawOpen": 0.05},
        "brows raised": {"mouthSmile*": 1.1, "cheekSquint*": 0.5, "mouthUpperUp*": 0.55,
                         "mouthLowerDown*": 0.4, "jawOpen": 0.2, "browInnerUp": 0.45,
                         "browOuterUp*": 0.5},
    },
    "sadness": {
        "brows and corners": {"browInnerUp": 1.2, "mouthFrown*": 1, "mouthShrugLower": 0.6,
                              "browDown*": 0.25},
        "lips pressed, eyes down": {"browInnerUp": 1, "mouthFrown*": 0.9, "mouthRollLower": 0.3,
                                    "browDown*": 0.3, "eyeSquint*": 0.35, "mouthPress*": 0.25,
                                    "eyeLookDown*": 0.4},
        "corners only": {"mouthFrown*": 1.1, "mouthShrugLower": 0.45, "eyeBlink*": 0.12},
        "brows only": {"browInnerUp": 1.4, "browDown*": 0.4, "eyeSquint*": 0.2, "eyeBlink*": 0.12,
                       "mouthFrown*": 0.25},
        "lower lip pushed": {"browInnerUp": 0.9, "browDown*": 0.2, "mouthShrugLower": 1,
                             "mouthShrugUpper": 0.35, "mouthFrown*": 0.7, "mouthPucker": 0.2},
        "heavy lids": {"browInnerUp": 0.9, "eyeBlink*": 0.32, "eyeLookDown*": 0.5,
                       "mouthFrown*": 0.75, "mouthShrugLower": 0.2},
        "squinting": {"browInnerUp": 0.8, "browDown*": 0.55, "eyeSquint*": 0.85,
                      "cheekSquint*": 0.35, "mouthFrown*": 0.9, "mouthShrugLower": 0.6,
                      "mouthStretch*": 0.25},
        "lips parted": {"browInnerUp": 1.2, "browDown*": 0.3, "mouthFrown*": 0.8,
                        "mouthLowerDown*": 0.35, "jawOpen": 0.06, "eyeBlink*": 0.15},
        "crying": {"browInnerUp": 1, "browDown*": 0.6, "eyeSquint*": 0.9, "cheekSquint*": 0.6,
                   "mouthStretch*": 0.6, "mouthFrown*": 0.8, "mouthLowerDown*": 0.55,
                   "jawOpen": 0.12, "mouthUpperUp*": 0.2},
    },
    "surprise": {
        "brows and jaw": {"browInnerUp": 1.2, "browOuterUp*": 1.1, "eyeWide*": 1, "jawOpen": 0.68},
        "rounded": {"browInnerUp": 1, "browOuterUp*": 1, "eyeWide*": 0.7, "jawOpen": 0.48,
                    "mouthFunnel": 0.3},
        "brows": {"browInnerUp": 1.3, "browOuterUp*": 1.25, "eyeWide*": 0.8, "jawOpen": 0.05},
        "jaw": {"browInnerUp": 0.3, "browOuterUp*": 0.3, "eyeWide*": 0.5, "jawOpen": 0.6},
        "mild": {"browInnerUp": 0.9, "browOuterUp*": 0.85, "eyeWide*": 0.5, "jawOpen": 0.24},
        "eyes": {"browInnerUp": 0.8, "browOuterUp*": 0.8, "eyeWide*": 1.15, "jawOpen": 0.3},
    },
}  # fmt: skip


def both_sides(recipe: Recipe) -> dict[str, float]:
    """Replace `name*` by nameLeft and nameRight."""
    sides: dict[str, float] = {}
    for name, weight in recipe.items():
        if name.endswith("*"):
            sides |= {f"{name[:-1]}Left": weight, f"{name[:-1]}Right": weight}
        else:
            sides[name] = weight
    return sides


def mirrored(recipe: Recipe) -> dict[str, float]:
    """The recipe with left and right exchanged; only one-sided ways change."""
    swap = {"Left": "Right", "Right": "Left"}
    sides = {}
    for name, weight in recipe.items():
        end = next((end for end in swap if name.endswith(end)), "")
        sides[name.removesuffix(end) + swap.get(end, "")] = weight
    return sides
