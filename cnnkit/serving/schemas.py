"""The JSON that goes over the wire, as schemas of an OpenAPI 3.1 document (JSON Schema 2020-12)."""

from typing import Any

from cnnkit.serving.tensors import DATATYPES

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Return a reference to one of the `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(items: Schema, description: str = "") -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items} | ({"description": description} if description else {})


def _of(kind: str, description: str, **more: Any) -> Schema:
    return {"type": kind, "description": description, **more}


def _object(description: str, optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "description": description, "properties": properties, "required": required}


_NAME = _of("string", "Of the model.")
_VERSION = _of("string", "A number that rises when the file is replaced.")
_DATATYPE = {"enum": list(DATATYPES), "description": "Of the elements; BYTES are strings."}
_LABEL = _of("string", "Of the class.")
_PROBABILITY = _of("number", "From 0 to 1.", minimum=0, maximum=1)
_CODE = _of("string", "Stable, for programs.")
_REQUEST_ID = _of("string", "Names this request in the server's log.")
_SENTENCE = _of("string", "What was expected, what came, and what to do.")
_PARAMETERS = _of("object", "Of the tensor.", additionalProperties=True)
_PNG = _of("string", "A PNG image as a data: URI.", pattern="^data:image/png;base64,")
_SHAPE = listed({"type": "integer"}, "-1 where a dimension is open.")
_FIXED_SHAPE = listed({"type": "integer", "minimum": 1}, "Of the tensor as it is sent.")
_DATA = {
    "type": "array",
    "items": {},
    "description": "The elements in row-major order, in one list or in lists nested as the shape says. Absent where "
    "the tensor is sent as binary data.",
}
_BINARY_SIZE = _of("integer", "Bytes of this tensor after the JSON.", minimum=0)

SCHEMAS: dict[str, Schema] = {
    "Error": _object(
        "What went wrong.",
        error=_object("In one form, whatever it was.", code=_CODE, message=_SENTENCE, request_id=_REQUEST_ID),
    ),
    "ProtocolError": _object(
        "What went wrong, in the protocol's form.", error=_SENTENCE, code=_CODE, request_id=_REQUEST_ID
    ),
    "Models": _object("The models of this server.", models=listed(ref("Model"))),
    "Model": _object(
        "What a page needs to offer a model.",
        ("assumptions",),
        name=_NAME,
        version=_VERSION,
        ready=_of("boolean", "Takes requests."),
        labels=listed(_LABEL, "In the order of the scores."),
        input=_object(
            "What the network sees of an image.",
            channels={"enum": [1, 3], "description": "1 for grey, 3 for colour."},
            height=_of("integer", "In pixels."),
            width=_of("integer", "In pixels."),
            fit=_of("string", "How an image gets to that size.", examples=["contain", "mnist-box"]),
            polarity=_of("string", "Whether dark and light are exchanged.", examples=["as-is", "light-on-dark"]),
        ),
        engine=_of("string", "What it really runs on.", examples=["onnxruntime CPU", "onnxruntime CUDA"]),
        model=_of("string", "The network's architecture."),
        dataset={"type": ["string", "null"], "description": "That it was trained on; null where nobody knows."},
        features=_of("boolean", "Feature maps are available."),
        assumptions=listed({"type": "string"}, "What a file without a model card leaves open, and how it is taken."),
    ),
    "ClassScore": _object("A class and how likely it is.", label=_LABEL, probability=_PROBABILITY),
    "Prediction": _object(
        "What the network reads in the image.",
        ("input", "features"),
        model=_NAME,
        version=_VERSION,
        request_id=_REQUEST_ID,
        label=_of("string", "Of the most probable class."),
        probability=_PROBABILITY,
        probabilities=listed(ref("ClassScore"), "The best classes, the most probable first."),
        preprocessing=listed({"type": "string"}, "What was done to the image before the network saw it, in order."),
        timings_ms=_object(
            "How long it took, in milliseconds.",
            queue=_of("number", "Waiting for a place in a batch."),
            decode=_of("number", "From the image file to pixels."),
            inference=_of("number", "In the network, of the whole batch."),
            total=_of("number", "From the complete request to its answer."),
        ),
        batch_size=_of("integer", "Images that went through the network together.", minimum=1),
        input=_object(
            "The image as the network sees it; with show=input.",
            height=_of("integer", "In pixels."),
            width=_of("integer", "In pixels."),
            channels={"enum": [1, 3]},
            png=_PNG,
        ),
        features=listed(ref("FeatureMap"), "Of the first layers; with show=features."),
    ),
    "FeatureMap": _object(
        "All channels of a layer's output, side by side in one grey image.",
        layer=_of("string", "Its name in the graph.", examples=["conv1"]),
        operator=_of("string", "Its operator.", examples=["Conv", "MaxPool"]),
        channels=_of("integer", "Maps in the image.", minimum=1),
        height=_of("integer", "Of one map, in pixels."),
        width=_of("integer", "Of one map, in pixels."),
        columns=_of("integer", "Maps in a row; a pixel lies between two of them."),
        png=_PNG,
    ),
    "Live": _object("The server runs.", live={"const": True}),
    "Ready": _object("It takes requests.", ready={"const": True}),
    "ModelReady": _object("The model takes requests.", name=_NAME, version=_VERSION, ready={"const": True}),
    "ServerMetadata": _object(
        "What this server is.",
        name=_of("string", "Of the software."),
        version=_of("string", "Of the software."),
        extensions=listed({"type": "string"}, "Of the protocol, in Triton's words."),
    ),
    "ModelMetadata": _object(
        "What a model takes and gives.",
        name=_NAME,
        versions=listed(_VERSION),
        platform=_of("string", "What runs it."),
        inputs=listed(ref("TensorMetadata")),
        outputs=listed(ref("TensorMetadata")),
    ),
    "TensorMetadata": _object(
        "A tensor of the model.", name=_of("string", "Of the tensor."), datatype=_DATATYPE, shape=_SHAPE
    ),
    "ModelConfig": _of("object", "Triton's ModelConfig message as JSON.", additionalProperties=True),
    "InferRequest": _object(
        "Tensors to run the model on.",
        ("id", "parameters", "outputs"),
        id=_of("string", "Comes back in the answer."),
        parameters={
            "type": "object",
            "properties": {
                "binary_data_output": _of("boolean", "All outputs as binary data, unless an output says otherwise."),
                "timeout": _of("integer", "Microseconds after which nobody waits for the answer.", minimum=1),
            },
            "additionalProperties": True,
        },
        inputs=listed(ref("InferInput"), "All inputs of the model."),
        outputs=listed(ref("InferRequestedOutput"), "Those that are wanted; all where this is absent or empty."),
    ),
    "InferInput": _object(
        "An input.",
        ("parameters", "data"),
        name=_of("string", "Of the input."),
        datatype=_DATATYPE,
        shape=_FIXED_SHAPE,
        parameters=_PARAMETERS | {"properties": {"binary_data_size": _BINARY_SIZE}},
        data=_DATA,
    ),
    "InferRequestedOutput": _object(
        "An output that is wanted.",
        ("parameters",),
        name=_of("string", "Of the output."),
        parameters=_PARAMETERS
        | {
            "properties": {
                "binary_data": _of("boolean", "As binary data after the JSON."),
                "classification": _of(
                    "integer",
                    "The best so many classes as strings “value:index:label” in place of the tensor.",
                    minimum=1,
                ),
            }
        },
    ),
    "InferResponse": _object(
        "What the model gave.",
        ("id",),
        model_name=_NAME,
        model_version=_VERSION,
        id=_of("string", "Of the request, where it had one."),
        outputs=listed(ref("InferOutput"), "In the order in which they were asked for."),
    ),
    "InferOutput": _object(
        "An output.",
        ("parameters", "data"),
        name=_of("string", "Of the output."),
        datatype=_DATATYPE,
        shape=_FIXED_SHAPE,
        parameters=_PARAMETERS | {"properties": {"binary_data_size": _BINARY_SIZE}},
        data=_DATA,
    ),
    "Statistics": _object("What models have done since they were loaded.", model_stats=listed(ref("ModelStatistics"))),
    "ModelStatistics": _object(
        "Of one version of a model.",
        name=_NAME,
        version=_VERSION,
        last_inference=_of("integer", "When the last request came, in milliseconds since 1970; 0 for never."),
        inference_count=_of("integer", "Images."),
        execution_count=_of("integer", "Batches."),
        inference_stats={
            "type": "object",
            "description": "By stage: success, fail, queue, compute_input, compute_infer, compute_output, and the "
            "cache, of which there is none.",
            "additionalProperties": ref("Duration"),
        },
        batch_stats=listed(
            _object(
                "The batches of one size.",
                batch_size=_of("integer", "Images in a batch."),
                compute_input=ref("Duration"),
                compute_infer=ref("Duration"),
                compute_output=ref("Duration"),
            )
        ),
    ),
    "Duration": _object("A sum.", count=_of("integer", "How often."), ns=_of("integer", "Nanoseconds in all.")),
    "RepositoryIndex": listed(
        _object(
            "A model that the server knows.",
            name=_NAME,
            version=_VERSION,
            state={"enum": ["READY", "UNAVAILABLE"]},
            reason=_of("string", "Why it is not ready; else empty."),
        )
    ),
    "ReloadRequest": _object("Which model; all of them where it is absent.", ("model",), model=_NAME),
    "Reloads": _object(
        "What serves.",
        models=listed(
            _object(
                "A model and its version.",
                model=_NAME,
                version=_VERSION,
            )
        ),
    ),
}
