package org.example.teach

import android.app.Activity
import android.os.Bundle
import android.widget.TextView
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.concurrent.thread

/** The whole story, on a worker thread; the screen shows what the other samples print. */
class MainActivity : Activity() {
  override fun onCreate(state: Bundle?) {
    super.onCreate(state)
    val text = TextView(this)
    setContentView(text)
    thread {
      tell { line -> runOnUiThread { text.append("$line\n") } }
    }
  }

  private fun tell(say: (String) -> Unit) {
    val options = CompiledModel.Options(Accelerator.CPU)
    Trainable(CompiledModel.create(assets, "T.tflite", options)).use { model ->
      val kept = File(filesDir, "weights.bin")
      if (kept.exists()) model.restore(kept.readBytes())
      val test = samples("test")
      say("accuracy before: ${accuracy(model, test)}")
      val train = samples("train")
      adaptInput(model, train)
      var count = 0
      for ((x, y) in train) count = model.remember(x, y)
      val loss = model.train(STEPS, RATE)
      say("remembered $count samples, loss $loss")
      save(kept, model.weights())
      say("accuracy after: ${accuracy(model, test)}")
    }
  }

  /** Fits the input, in files that can: a batch a call, and each epoch in other batches. */
  private fun adaptInput(model: Trainable, train: List<Pair<ByteArray, Int>>) {
    if (model.batchSize == 0) return
    val size = train[0].first.size
    var seed = 0
    for (epoch in 0 until EPOCHS) {
      for (first in train.indices step model.batchSize) {
        val x = ByteArray(model.batchSize * size)
        val labels = IntArray(model.batchSize) { -1 }
        for (i in first until minOf(first + model.batchSize, train.size)) {
          val (sample, label) = train[(i + epoch) % train.size]
          sample.copyInto(x, (i - first) * size)
          labels[i - first] = label
        }
        model.adaptInput(x, labels, seed++)
      }
    }
  }

  private fun accuracy(model: Trainable, test: List<Pair<ByteArray, Int>>): Double =
    test.count { (x, y) ->
      val scores = model.infer(x)
      scores.indices.maxByOrNull { scores[it] } == y
    } / test.size.toDouble()

  /** What make_data.py wrote, from the assets: samples with their classes. */
  private fun samples(what: String): List<Pair<ByteArray, Int>> {
    val x = assets.open("${what}_x.bin").use { it.readBytes() }
    val labels = assets.open("${what}_y.bin").use { it.readBytes() }
    val y = ByteBuffer.wrap(labels).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer()
    val count = y.remaining()
    val size = x.size / count
    return List(count) { x.copyOfRange(it * size, (it + 1) * size) to y.get(it) }
  }

  /** Writes beside the place and renames, so that a reader finds all or what was before. */
  private fun save(path: File, bytes: ByteArray) {
    val beside = File(path.path + ".new")
    beside.writeBytes(bytes)
    check(beside.renameTo(path)) { "$path cannot be written" }
  }

  private companion object {
    const val STEPS = 100
    const val RATE = 1.0f
    const val EPOCHS = 8
  }
}
