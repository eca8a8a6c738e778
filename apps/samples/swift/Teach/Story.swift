import Foundation

/// The whole story: accuracy, remember, train, save, accuracy.
///
/// Call it on a queue of its own. `bundle` holds T.tflite and what make_data.py
/// wrote; what was learned is kept in the app's own folder, which no other app
/// can read.
func teach(
  bundle: Bundle = .main, steps: Int32 = 100, rate: Float = 1, say: (String) -> Void
) throws {
  guard let path = bundle.path(forResource: "T", ofType: "tflite") else {
    throw CocoaError(.fileNoSuchFile)
  }
  let model = try Trainable(path: path)
  let folder = try FileManager.default.url(
    for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
  let kept = folder.appendingPathComponent("weights.bin")
  if let weights = try? Data(contentsOf: kept) {
    try model.restore(weights)
  }
  let test = try samples("test", in: bundle)
  say("accuracy before: \(try accuracy(model, test))")
  let train = try samples("train", in: bundle)
  try adaptInput(model, train)
  var count: Int32 = 0
  for (x, y) in train {
    count = try model.remember(x, label: y)
  }
  let loss = try model.train(steps: steps, rate: rate)
  say("remembered \(count) samples, loss \(loss)")
  // All of the new file or all of the old, and unreadable while the phone is locked.
  try model.weights().write(to: kept, options: [.atomic, .completeFileProtection])
  say("accuracy after: \(try accuracy(model, test))")
}

/// Fits the input, in files that can: a batch a call, and each epoch in other
/// batches.
private func adaptInput(
  _ model: Trainable, _ train: [([Float], Int32)], epochs: Int = 8
) throws {
  let batch = model.batchSize
  guard batch > 0 else { return }
  let empty = [Float](repeating: 0, count: train[0].0.count)
  var seed: Int32 = 0
  for epoch in 0..<epochs {
    for first in stride(from: 0, to: train.count, by: batch) {
      let rows = (first..<first + batch).map { i in
        i < train.count ? train[(i + epoch) % train.count] : (empty, -1)
      }
      _ = try model.adaptInput(rows.flatMap { $0.0 }, labels: rows.map { $0.1 }, seed: seed)
      seed += 1
    }
  }
}

private func accuracy(_ model: Trainable, _ test: [([Float], Int32)]) throws -> Double {
  var right = 0
  for (x, y) in test {
    let scores = try model.infer(x)
    let best = scores.indices.max { scores[$0] < scores[$1] }
    right += best == Int(y) ? 1 : 0
  }
  return Double(right) / Double(test.count)
}

/// What make_data.py wrote for a file with float32 at its ends.
private func samples(_ what: String, in bundle: Bundle) throws -> [([Float], Int32)] {
  func values<T>(_ name: String) throws -> [T] {
    guard let url = bundle.url(forResource: name, withExtension: "bin") else {
      throw CocoaError(.fileNoSuchFile)
    }
    return try Data(contentsOf: url).withUnsafeBytes { Array($0.bindMemory(to: T.self)) }
  }
  let x: [Float] = try values("\(what)_x")
  let y: [Int32] = try values("\(what)_y")
  guard !y.isEmpty, x.count % y.count == 0 else { throw TrainableError.samplesDoNotFit }
  let size = x.count / y.count
  return y.indices.map { (Array(x[$0 * size..<($0 + 1) * size]), y[$0]) }
}
