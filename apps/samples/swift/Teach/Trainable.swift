import Foundation
import TensorFlowLite

/// A .tflite that trains itself: its signatures as functions.
///
/// The file must be exported with `--io=float32`: `Tensor` of TensorFlowLiteSwift
/// knows no int8, and throws where an output has it.
///
/// Not for several threads at once; calls of `train` belong on a queue of their
/// own. What was learned lives in variables of the interpreter, and is gone with
/// it: `weights` and `restore` carry it over.
final class Trainable {
  private let interpreter: Interpreter
  private var runners: [String: SignatureRunner] = [:]

  init(path: String) throws {
    var options = Interpreter.Options()
    options.threadCount = 1
    interpreter = try Interpreter(modelPath: path, options: options)
  }

  /// The scores of one sample.
  func infer(_ x: [Float]) throws -> [Float] {
    try run("infer", ["x": data(x)])
    return try values("infer", "probabilities")
  }

  /// Keeps one sample to learn from; how many are kept by now.
  func remember(_ x: [Float], label: Int32) throws -> Int32 {
    try run("remember", ["x": data(x), "y": data([label])])
    return try values("remember", "count")[0]
  }

  /// How many samples a call of `adaptInput` takes; 0 for a file that has none.
  var batchSize: Int {
    guard interpreter.signatureKeys.contains("adapt_input"),
      let y = try? runner("adapt_input").input(named: "y")
    else { return 0 }
    return y.shape.dimensions[0]
  }

  /// Fits the input to `batchSize` samples, one behind the other. A label of -1
  /// marks one that does not count. True if `infer` has a new input by now: what
  /// was remembered is then forgotten.
  func adaptInput(_ x: [Float], labels: [Int32], seed: Int32) throws -> Bool {
    try run("adapt_input", ["x": data(x), "y": data(labels), "seed": data([seed])])
    let changed: [Int32] = try values("adapt_input", "changed")
    return changed[0] != 0
  }

  /// Learns from all that is remembered; the loss afterwards.
  func train(steps: Int32, rate: Float) throws -> Float {
    try run("train", ["steps": data([steps]), "rate": data([rate])])
    return try values("train", "loss")[0]
  }

  /// Forgets all that was learned and remembered.
  func reset() throws {
    try run("reset", [:])
  }

  /// What was learned, as bytes to keep: the same as the other samples write.
  func weights() throws -> Data {
    try run("get_weights", [:])
    let runner = try runner("get_weights")
    return try runner.outputs.sorted().reduce(into: Data()) { all, name in
      all.append(try runner.output(named: name).data)
    }
  }

  /// Takes back what `weights` gave, perhaps in an earlier process.
  func restore(_ kept: Data) throws {
    let runner = try runner("set_weights")
    var inputs: [String: Data] = [:]
    var start = kept.startIndex
    for name in runner.inputs.sorted() {
      let end = start + (try runner.input(named: name).data.count)
      guard end <= kept.endIndex else { throw TrainableError.notTheseWeights }
      inputs[name] = kept.subdata(in: start..<end)
      start = end
    }
    guard start == kept.endIndex else { throw TrainableError.notTheseWeights }
    try run("set_weights", inputs)
    let accepted: [Int32] = try values("set_weights", "accepted")
    guard accepted[0] != 0 else { throw TrainableError.notTheseWeights }
  }

  private func runner(_ key: String) throws -> SignatureRunner {
    if let found = runners[key] { return found }
    let made = try interpreter.signatureRunner(with: key)
    runners[key] = made
    return made
  }

  private func run(_ key: String, _ inputs: [String: Data]) throws {
    try runner(key).invoke(with: inputs)
  }

  private func data<T>(_ values: [T]) -> Data {
    values.withUnsafeBytes { Data($0) }
  }

  private func values<T>(_ key: String, _ output: String) throws -> [T] {
    let data = try runner(key).output(named: output).data
    return data.withUnsafeBytes { Array($0.bindMemory(to: T.self)) }
  }
}

enum TrainableError: Error {
  case notTheseWeights
  case samplesDoNotFit
}
