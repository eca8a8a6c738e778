"""The architecture, held: who may import whom, and how long files are."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = ("tflm_fg", "converters", "apps")

# A file of tflm_fg imports only files above it.
ORDER = """
  base quant sides rng state addresses files quiet
  flatbuffer_indices flatbuffer_verify flatbuffer_patch flatbuffer_prepend
  flatbuffer flatbuffer_tensors
  flatbuffer_sites flatbuffer_grow flatbuffer_mend flatbuffer_rows
  flatbuffer_prompt flatbuffer_wide flatbuffer_int16 flatbuffer_int8x2
  flatbuffer_finer flatbuffer_mark flatbuffer_cut
  litert_session tflm_session runtimes
  last_layer
  losses information distances black_box directions masks shapes queries
  estimators one_sided tangents sharpness closed_form nodes statistics
  schedules rounding optimizers
  data metrics callbacks passes timing trainer defaults settings tasks graph
  widening
  home_means tuning trials
  records phases ways placement courses journal dataflow arena backward memory
  plots reports evaluation adaptation __init__
""".split()
SCHEMA = {n for n in ORDER if n.startswith("flatbuffer")}


def imported(path):
  """Dotted names that a file imports, at any depth."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      found |= {f"{node.module}.{alias.name}" for alias in node.names}
      found.add(node.module)
  return found


def sources(folder):
  return sorted((ROOT / folder).rglob("*.py"))


def test_every_file_of_the_trainer_has_its_place_in_the_order():
  assert sorted(p.stem for p in sources("tflm_fg")) == sorted(ORDER)


def test_imports_in_the_trainer_point_up_the_list():
  for path in sources("tflm_fg"):
    for name in imported(path):
      parts = name.split(".")
      if parts[0] == "tflm_fg" and len(parts) > 1 and parts[1] in ORDER:
        assert ORDER.index(parts[1]) < ORDER.index(path.stem), (path, name)


def test_no_file_imports_itself_in_a_circle():
  """Bazel refuses circles, and only CI has Bazel."""
  files = {
    ".".join(p.relative_to(ROOT).with_suffix("").parts): p
    for folder in FOLDERS
    for p in sources(folder)
  }
  known = {name: imported(p) & set(files) for name, p in files.items()}
  while ends := {name for name, used in known.items() if not used}:
    known = {n: used - ends for n, used in known.items() if n not in ends}
  assert not known


def test_imports_between_folders_point_one_way():
  for number, folder in enumerate(FOLDERS):
    later = FOLDERS[number + 1 :]
    for path in sources(folder):
      tops = {name.split(".")[0] for name in imported(path)}
      assert not tops & set(later), path


def test_the_trainer_needs_no_tensorflow_to_import():
  for path in sources("tflm_fg"):
    tree = ast.parse(path.read_text())
    for node in tree.body:
      if isinstance(node, ast.Import | ast.ImportFrom):
        text = ast.unparse(node)
        for package in ("tensorflow", "tflite_micro", "matplotlib", "keras"):
          assert package not in text, path


def test_only_the_flatbuffer_files_know_the_schema():
  for path in sources("tflm_fg"):
    knows = any("schema_py_generated" in name for name in imported(path))
    assert knows <= (path.stem in SCHEMA), path


def test_no_source_file_is_longer_than_350_lines():
  for folder in FOLDERS:
    for path in sources(folder):
      assert len(path.read_text().splitlines()) <= 350, path


def test_no_function_is_longer_than_85_lines_with_its_docstring():
  for folder in FOLDERS:
    for path in sources(folder):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
          length = node.end_lineno - node.lineno + 1
          assert length <= 85, (path, node.name, length)
