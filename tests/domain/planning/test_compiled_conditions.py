"""Compiled conditions give the same answer and the same reason as `evaluate`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nurture.domain.planning.comparisons import Comparison
from nurture.domain.planning.compiled_conditions import ANY_TIME, compile_condition, field_context
from nurture.domain.planning.conditions import (
    AllOf,
    AnyOf,
    Condition,
    FieldCondition,
    FitCondition,
    Not,
    PostcodeCondition,
    evaluate,
)

values = st.sampled_from(["DE", "de ", "", "Head of X", "80331", 1, 1.0, True, False, None, 250, "250"])
texts = st.sampled_from(["DE", "head", "80331", "250"])
field_conditions = st.one_of(
    st.builds(FieldCondition, st.sampled_from(["a", "b"]), st.just(Comparison.IS), texts | st.just(1) | st.booleans()),
    st.builds(
        FieldCondition, st.just("a"), st.sampled_from([Comparison.IN, Comparison.NOT_IN]), st.tuples(texts, texts)
    ),
    st.builds(FieldCondition, st.just("b"), st.just(Comparison.CONTAINS), st.tuples(texts, texts) | texts),
    st.builds(
        FieldCondition, st.just("b"), st.sampled_from([Comparison.AT_LEAST, Comparison.AT_MOST]), st.integers(0, 300)
    ),
    st.builds(FieldCondition, st.just("a"), st.just(Comparison.EXISTS), st.booleans()),
)
letters = st.sampled_from(["A", "B", "C", "D"])
leaves = st.one_of(
    field_conditions,
    st.builds(FitCondition, at_least=letters),
    st.builds(FitCondition, below=letters),
    st.just(PostcodeCondition("DE", "80000", "89999")),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(AllOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=6,
)
field_values = st.fixed_dictionaries({}, optional=dict.fromkeys(("a", "b", "country", "postcode"), values))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(conditions, st.lists(st.tuples(field_values, letters | st.just("")), min_size=1, max_size=4))
def test_the_answer_is_the_one_of_evaluate_however_often_it_is_asked(
    condition: Condition, requests: list[tuple[dict[str, str | int | float | bool | None], str]]
) -> None:
    compiled = compile_condition(condition)
    for fields, fit in requests * 2:
        assert compiled(fields, fit) == evaluate(condition, field_context(fields, fit), ANY_TIME)[:2]
