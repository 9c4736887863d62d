import pytest

from watcherd.pim.flows import diagram_nodes
from watcherd.pim.names import Taken, is_domain, is_segment, kebab, name_fault, plural, snake
from watcherd.pim.relations import to_one_name


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("OrderItem", "order-items"),
        ("HTTPServer", "http-servers"),
        ("Category", "categories"),
        ("Person", "people"),
        ("OrderStatus", "order-statuses"),
        ("News", "news"),
        ("订单", "订单"),
        ("订单Item", "订单Item"),
    ],
)
def test_the_plural_is_that_of_the_last_word_in_kebab_case(name: str, segment: str) -> None:
    assert plural(name) == segment


@pytest.mark.parametrize(
    ("name", "converted"),
    [("orderId", "order_id"), ("orderID", "order_id"), ("订单Id", "订单_id"), ("order-item", "order_item")],
)
def test_words_begin_at_capitals(name: str, converted: str) -> None:
    assert snake(name) == converted
    assert kebab(name) == converted.replace("_", "-")


@pytest.mark.parametrize(
    ("first", "second"), [("orderId", "order_id"), ("userName", "username"), ("OrderItem", "order-item")]
)
def test_names_that_convert_to_the_same_cannot_stand_beside_each_other(first: str, second: str) -> None:
    taken = Taken()
    assert taken.take(first) is None
    assert taken.take(second) == first


def test_names_that_convert_to_different_ones_can() -> None:
    taken = Taken()
    assert (taken.take("user_name"), taken.take("username")) == (None, None)


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("patientId", "patient"),
        ("patient_id", "patient"),
        ("order", "order_row"),
        ("Id", "Id_row"),
        ("订单_id", "订单"),
    ],
)
def test_a_related_row_has_the_name_of_the_key_without_its_ending(attribute: str, name: str) -> None:
    assert to_one_name(attribute) == name


@pytest.mark.parametrize("domain", ["a", "order-management", "order_management2"])
def test_domains_are_words_in_lower_case(domain: str) -> None:
    assert is_domain(domain)


@pytest.mark.parametrize("domain", ["", "A", "a--b", "-a", "a-", "2a", "订单", "a" * 200, "a\n"])
def test_other_texts_are_no_domains(domain: str) -> None:
    assert not is_domain(domain)


@pytest.mark.parametrize("name", ["", "_a", "a__b", "a b", "1a", "a" * 200, "a-b"])
def test_some_texts_cannot_be_names(name: str) -> None:
    assert name_fault(name) is not None


def test_a_segment_can_never_be_a_lone_hyphen() -> None:
    assert not is_segment("-")
    assert is_segment("订单-items")


def test_the_nodes_of_a_diagram_are_found_in_all_its_notations() -> None:
    diagram = """flowchart TD
        Start([Start]) --> A[Read --> this]
        A -->|No| C{"why?"}
        B -- yes --> D & E
        D -.-> F; G ==> H
        K---L:::bold
        subgraph ignored
        end
        %% X --> Y
        甲[a] --> 乙
    """
    assert diagram_nodes(diagram) == set("ABCDEFGHKL甲乙") | {"Start"}
