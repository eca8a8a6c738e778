package org.example.teach

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException
import com.google.ai.edge.litert.TensorBuffer
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * A .tflite that trains itself: its signatures as functions.
 *
 * It is made for the CPU. One thread at a time; calls of [train] belong on a worker thread.
 *
 * Each signature gets its buffers once. What was learned lives in variables inside [compiled], and
 * is gone when it is closed: [weights] and [restore] carry it over.
 */
class Trainable(private val compiled: CompiledModel) : AutoCloseable {
  private class Call(
    val inputs: Map<String, TensorBuffer>,
    val outputs: Map<String, TensorBuffer>,
  )

  private val calls = HashMap<String, Call>()

  /** What get_weights gives and set_weights takes, in the order in which it is kept. */
  private val kept = listOf("bias", "gain", "kernel", "offset").filter { has(it, "get_weights") }

  /** How many samples a call of [adaptInput] takes; 0 for a file that has none. */
  val batchSize =
    if (has("loss", "adapt_input")) {
      compiled.getInputTensorType("y", "adapt_input").layout!!.dimensions[0]
    } else {
      0
    }

  /** The scores of one sample in the type of the model's input: int8. */
  fun infer(x: ByteArray): ByteArray {
    val call = call("infer", listOf("x"), listOf("probabilities"))
    call.inputs.getValue("x").writeInt8(x)
    run("infer", call)
    return call.outputs.getValue("probabilities").readInt8()
  }

  /** Keeps one sample to learn from; how many are kept by now. */
  fun remember(x: ByteArray, label: Int): Int {
    val call = call("remember", listOf("x", "y"), listOf("count"))
    call.inputs.getValue("x").writeInt8(x)
    call.inputs.getValue("y").writeInt(intArrayOf(label))
    run("remember", call)
    return call.outputs.getValue("count").readInt()[0]
  }

  /**
   * Fits the input to [batchSize] samples, one behind the other. A label of -1 marks one that does
   * not count. True if [infer] has a new input by now: what was remembered is then forgotten.
   */
  fun adaptInput(x: ByteArray, labels: IntArray, seed: Int): Boolean {
    val call = call("adapt_input", listOf("x", "y", "seed"), listOf("loss", "changed"))
    call.inputs.getValue("x").writeInt8(x)
    call.inputs.getValue("y").writeInt(labels)
    call.inputs.getValue("seed").writeInt(intArrayOf(seed))
    run("adapt_input", call)
    return call.outputs.getValue("changed").readInt()[0] != 0
  }

  /** Learns from all that is remembered; the loss afterwards. */
  fun train(steps: Int, rate: Float): Float {
    val call = call("train", listOf("steps", "rate"), listOf("loss"))
    call.inputs.getValue("steps").writeInt(intArrayOf(steps))
    call.inputs.getValue("rate").writeFloat(floatArrayOf(rate))
    run("train", call)
    return call.outputs.getValue("loss").readFloat()[0]
  }

  /** Forgets all that was learned and remembered. */
  fun reset() = run("reset", call("reset", listOf(), listOf("count")))

  /** What was learned, as bytes to keep: the same as the other samples write. */
  fun weights(): ByteArray {
    val call = call("get_weights", listOf(), kept)
    run("get_weights", call)
    val values = kept.map { call.outputs.getValue(it).readInt() }
    val bytes = ByteBuffer.allocate(4 * values.sumOf { it.size }).order(ByteOrder.LITTLE_ENDIAN)
    values.forEach { numbers -> numbers.forEach { bytes.putInt(it) } }
    return bytes.array()
  }

  /** Takes back what [weights] gave, perhaps in an earlier process. */
  fun restore(weights: ByteArray) {
    val call = call("set_weights", kept, listOf("accepted"))
    val bytes = ByteBuffer.wrap(weights).order(ByteOrder.LITTLE_ENDIAN)
    for (name in kept) {
      val shape = compiled.getInputTensorType(name, "set_weights").layout!!.dimensions
      call.inputs.getValue(name).writeInt(IntArray(shape.fold(1, Int::times)) { bytes.getInt() })
    }
    require(!bytes.hasRemaining()) { "not weights of this model" }
    run("set_weights", call)
    check(call.outputs.getValue("accepted").readInt()[0] != 0) { "the model refuses these weights" }
  }

  /** Whether a signature has an output of that name. */
  private fun has(output: String, key: String): Boolean =
    try {
      compiled.getOutputTensorType(output, key)
      true
    } catch (fault: LiteRtException) {
      false
    }

  private fun call(key: String, inputs: List<String>, outputs: List<String>) =
    calls.getOrPut(key) {
      Call(
        inputs.associateWith { compiled.createInputBuffer(it, key) },
        outputs.associateWith { compiled.createOutputBuffer(it, key) },
      )
    }

  private fun run(key: String, call: Call) = compiled.run(call.inputs, call.outputs, key)

  override fun close() {
    for (call in calls.values) {
      call.inputs.values.forEach(TensorBuffer::close)
      call.outputs.values.forEach(TensorBuffer::close)
    }
    calls.clear()
    compiled.close()
  }

  companion object {
    /** Opens a file on disk. An asset opens by CompiledModel.create(assets, name, options). */
    fun open(file: File) =
      Trainable(CompiledModel.create(file.path, CompiledModel.Options(Accelerator.CPU)))
  }
}
