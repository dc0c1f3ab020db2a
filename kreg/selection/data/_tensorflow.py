"""Batches as a `tf.data.Dataset`, which needs no Python at each step."""

from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from kreg.selection.data.order import Order
from kreg.selection.data.rows import Arrays, Structure
from kreg.tensorflow_messages import start_generators


def ordered_batches(arrays: Arrays, order: Order) -> tf.data.Dataset:
    """Batches of arrays in an order; each iteration gives one epoch."""
    tensors = _tensors(arrays)
    if order.per_pass == 1:
        return tf.data.Dataset.from_tensors(tensors).repeat(order.passes)

    def passes() -> Iterator[Any]:
        yield from order.next_epoch()

    def batches_of_pass(rows: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(rows).batch(order.batch_size)

    def gathered(rows: tf.Tensor) -> Structure:
        return tf.nest.map_structure(lambda t: tf.gather(t, rows), tensors)

    start_generators()
    dataset = tf.data.Dataset.from_generator(
        passes, output_signature=tf.TensorSpec((order.size,), tf.int64)
    )
    dataset = dataset.flat_map(batches_of_pass).map(gathered)
    counted = tf.data.experimental.assert_cardinality(order.per_epoch)
    return dataset.apply(counted).prefetch(2)


def batches(arrays: Arrays, order: Order) -> tf.data.Dataset:
    """Batches of arrays in the order of the rows."""
    dataset = tf.data.Dataset.from_tensor_slices(_tensors(arrays))
    return dataset.batch(order.batch_size).cache()


def _tensors(arrays: Arrays) -> Structure:
    parts = [arrays.x, arrays.y]
    if arrays.sample_weight is not None:
        parts.append(arrays.sample_weight)
    return tuple(_tensors_in_tuples(part) for part in parts)


def _tensors_in_tuples(structure: Structure) -> Structure:
    """The structure with arrays as tensors, and lists as tuples.

    `tf.data` would stack the tensors in a list.
    """
    if isinstance(structure, (list, tuple)):
        return tuple(_tensors_in_tuples(part) for part in structure)
    if isinstance(structure, dict):
        return {
            name: _tensors_in_tuples(part) for name, part in structure.items()
        }
    return keras.ops.convert_to_tensor(structure)
