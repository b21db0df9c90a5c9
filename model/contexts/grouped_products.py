"""Products of rows with the kernels of their groups, where each row belongs to a group or to none.

To gather a kernel for every row would take a kernel's memory per row, and to multiply all rows by
all kernels a product per group. Here the rows of a group are laid out in blocks, and each block is
multiplied by one kernel (as Gale et al., "MegaBlocks", arXiv 2211.15841, do with the experts of a
mixture). All shapes follow from the number of rows, as XLA requires.
"""

import tensorflow as tf

from ..shapes import shape_of

BLOCK = 32
"""The number of rows of a block."""


def grouped_products(
    rows: tf.Tensor, groups: tf.Tensor, kernels: tf.Tensor, block: int = BLOCK
) -> tf.Tensor:
    """Returns the product of each row with the kernel of its group.

    Args:
      rows: The rows, `[rows, width]`.
      groups: The group of each row, `[rows]`, int32; the number of kernels for a row of no group,
        whose product is zeros.
      kernels: The kernels, `[groups, width, outputs]`, in the dtype of the rows.
      block: The number of rows that are multiplied by a kernel at once. Default `BLOCK`.

    Returns:
      `[rows, outputs]`.
    """
    count, width = shape_of(rows)
    number, _, outputs = kernels.shape
    # A group of n rows has n // block full blocks and at most one more.
    blocks = count // block + (
        min(count, number) if isinstance(count, int) else tf.minimum(count, number)
    )
    is_member = groups[:, None] == tf.range(number)
    members = tf.reduce_sum(tf.cast(is_member, tf.int32), axis=0)
    blocks_of_group = -(-members // block)
    blocks_until = tf.cumsum(blocks_of_group)

    # In the order of groups a row's place is that of its group's first block, and its rank in it.
    order = tf.argsort(groups, stable=True)
    in_order = tf.gather(groups, order)
    first_row = tf.concat([tf.cumsum(members, exclusive=True), [0]], axis=0)
    first_place = tf.concat([(blocks_until - blocks_of_group) * block, [0]], axis=0)
    rank = tf.range(count) - tf.gather(first_row, in_order)
    place = tf.gather(first_place, in_order) + rank
    place = tf.where(in_order < number, place, blocks * block)  # after the last block

    # Row 0 is the padding, zeros.
    source = tf.scatter_nd(place[:, None], order + 1, [blocks * block + 1])
    padded = tf.concat([tf.zeros([1, width], rows.dtype), rows], axis=0)
    laid_out = tf.gather(padded, source[: blocks * block])
    group_of_block = tf.reduce_sum(
        tf.cast(tf.range(blocks)[:, None] >= blocks_until, tf.int32), axis=1
    )
    chosen = tf.gather(kernels, tf.minimum(group_of_block, number - 1))
    products = tf.matmul(tf.reshape(laid_out, [blocks, block, width]), chosen)
    flat = tf.reshape(products, [blocks * block, outputs])
    flat = tf.concat([flat, tf.zeros([1, outputs], flat.dtype)], axis=0)
    return tf.gather(flat, tf.scatter_nd(order[:, None], place, [count]))
