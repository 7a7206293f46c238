"""Every error and warning this room raises, one tree.

    RagError
    ├── MissingExtraError       (ImportError)        a library is not installed
    ├── NoDocumentsError        (ValueError)         nothing could be read
    │   └── MissingPathError    (FileNotFoundError)  the folder or file is not there
    ├── DocumentReadError       (ValueError)         one file, raise_on_error=True
    ├── InvalidOptionError      (ValueError)         an argument that cannot work
    ├── IndexMismatchError      (ValueError)         vectors that do not fit the index
    ├── InvalidVectorError      (ValueError)         numbers no search can use: NaN
    ├── IndexFileError          (ValueError)         a file that holds no index
    ├── VectorStoreError                             a vector store's server said no
    ├── NoLLMConfiguredError                         asked for what needs a real model
    ├── MissingAPIKeyError                           a hosted model, and no key
    ├── ModelUnavailableError                        a local model cannot be had
    ├── StructuredOutputError   (ValueError)         an answer of another kind
    ├── MaxIterationsError                           a model that calls tools for ever
    └── ModelServerError                             the model server said no
        └── ModelTimeoutError   (TimeoutError)       or said nothing in time
    RagWarning                  (UserWarning)        skipped files, guessed encodings

Messages are short and end with what to do; the facts are attributes. Errors
survive pickling, since a step may run in another process.
"""

from __future__ import annotations


class RagError(Exception):
    """Root of all errors raised by ``stepwell.rag``."""


class MissingExtraError(RagError, ImportError):
    """A library that an optional part needs is not installed.

    Attributes:
        package: The library that could not be imported.
        extra: The extra of stepwell that brings it.
    """

    def __init__(
        self, message: str, *, package: str | None = None, extra: str | None = None
    ) -> None:
        super().__init__(message)
        self.package = package
        self.extra = extra

    @classmethod
    def for_package(cls, package: str, extra: str, wanted_by: str) -> MissingExtraError:
        """Word the error for `wanted_by`, which needs `package` from `extra`."""
        return cls(
            f"{wanted_by} needs {package}, which is not installed. "
            f'Run: pip install "stepwell[{extra}]"',
            package=package,
            extra=extra,
        )


class NoDocumentsError(RagError, ValueError):
    """A folder or a list of files gave no document.

    Attributes:
        path: The folder looked in, if there was one.
        skipped: ``(path, reason)`` of every file that was left out.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        skipped: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.path = path
        self.skipped = skipped


class MissingPathError(NoDocumentsError, FileNotFoundError):
    """The folder or file to read is not there."""


class DocumentReadError(RagError, ValueError):
    """One file could not be read, and ``raise_on_error=True`` was asked for.

    Attributes:
        path: The file.
        reason: What is wrong with it, in a few words.
    """

    def __init__(
        self, message: str, *, path: str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.path = path
        self.reason = reason


class InvalidOptionError(RagError, ValueError):
    """An argument that cannot work, named together with those that can."""


class IndexMismatchError(RagError, ValueError):
    """Vectors that do not fit the index, most often from another model.

    Attributes:
        expected: Dimensions the index was built with.
        got: Dimensions that came.
    """

    def __init__(
        self, message: str, *, expected: int | None = None, got: int | None = None
    ) -> None:
        super().__init__(message)
        self.expected = expected
        self.got = got


class InvalidVectorError(RagError, ValueError):
    """An embedding model returned NaN or infinity, which nothing can be compared with.

    Attributes:
        ids: The chunks whose vectors are so; empty for a question's.
    """

    def __init__(self, message: str, *, ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.ids = ids


class IndexFileError(RagError, ValueError):
    """A file is no index that `VectorStoreIndex.persist` wrote, or is damaged.

    Attributes:
        path: The file.
    """

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class VectorStoreError(RagError):
    """The server that keeps the vectors refused, failed, or could not be reached."""


class NoLLMConfiguredError(RagError):
    """Something was asked for that only a language model can do."""


class MissingAPIKeyError(RagError):
    """A hosted model was called without a key.

    Attributes:
        model: The model that was to be called.
        variable: The environment variable that would have been read.
    """

    def __init__(
        self, message: str, *, model: str | None = None, variable: str | None = None
    ) -> None:
        super().__init__(message)
        self.model = model
        self.variable = variable


class ModelUnavailableError(RagError):
    """A local model is neither on this machine nor to be had from the hub.

    Attributes:
        model: Name or folder that was asked for.
        looked_in: The cache folder that was searched.
    """

    def __init__(
        self, message: str, *, model: str | None = None, looked_in: str | None = None
    ) -> None:
        super().__init__(message)
        self.model = model
        self.looked_in = looked_in


class StructuredOutputError(RagError, ValueError):
    """A model's answer is not of the class that was asked for.

    Attributes:
        raw: The answer as it came.
        model: The model that was called.
    """

    def __init__(
        self, message: str, *, raw: str | None = None, model: str | None = None
    ) -> None:
        super().__init__(message)
        self.raw = raw
        self.model = model


class MaxIterationsError(RagError):
    """A model still called tools after as many rounds as it was given.

    Attributes:
        max_iterations: How many rounds that were.
        tool_names: What it called in the last one.
    """

    def __init__(
        self,
        message: str,
        *,
        max_iterations: int | None = None,
        tool_names: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.max_iterations = max_iterations
        self.tool_names = tool_names

    @classmethod
    def after(
        cls, rounds: int, model: str, names: tuple[str, ...]
    ) -> MaxIterationsError:
        """Word the error for `model`, which called `names` in the last round."""
        return cls(
            f"{model} still calls tools after {rounds} rounds, last "
            f"{', '.join(names)}. Raise max_iterations=, or tell it in the system "
            "prompt when to stop.",
            max_iterations=rounds,
            tool_names=names,
        )


class ModelServerError(RagError):
    """The model server refused, failed, or could not be reached.

    Attributes:
        model: The model that was called.
        url: Base address of the server.
        status: HTTP status, or None where no answer came.
        retry_after: Seconds the server asked to wait, if it said so.
        partial_text: What a stream had delivered before it broke.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        url: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        partial_text: str | None = None,
    ) -> None:
        super().__init__(message)
        self.model = model
        self.url = url
        self.status = status
        self.retry_after = retry_after
        self.partial_text = partial_text


class ModelTimeoutError(ModelServerError, TimeoutError):
    """The model server did not answer in time."""


class RagWarning(UserWarning):
    """Something was left out or guessed, and the work went on."""
