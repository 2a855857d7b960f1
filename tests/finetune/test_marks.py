"""Rows beside what a chat template says of itself."""

import copy
import re

from icrl.finetune.marks import as_marked

GENERATION = r"\{%-?\s*(end)?generation\s*-?%\}"


def test_rows_teach_what_the_template_marks(tokenizer):
    assert as_marked(tokenizer) is True


def test_a_template_without_marks_says_nothing(tokenizer):
    plain = copy.deepcopy(tokenizer)
    plain.chat_template = re.sub(GENERATION, "", tokenizer.chat_template)
    assert plain.chat_template != tokenizer.chat_template and as_marked(plain) is None


def test_marks_that_stand_elsewhere_are_found(tokenizer):
    other = copy.deepcopy(tokenizer)
    bare = re.sub(GENERATION, "", tokenizer.chat_template)
    other.chat_template = "{% generation %}" + bare + "{% endgeneration %}"
    assert as_marked(other) is False
