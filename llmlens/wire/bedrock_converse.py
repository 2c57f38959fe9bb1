"""The dialect of Amazon Bedrock Converse. No I/O.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and …_ConverseStream.html.
"""

from dataclasses import replace

from llmlens.wire.aws_event_stream import MEDIA_TYPE
from llmlens.wire.bedrock_build import build_request
from llmlens.wire.bedrock_faults import TELLING_HEADERS, fault_body, fault_event, reply_with_headers
from llmlens.wire.bedrock_path import converse_path, read_path
from llmlens.wire.bedrock_read import NAME, ConverseReader, read_reply
from llmlens.wire.bedrock_request import parse_request, prompt_texts, read_request
from llmlens.wire.bedrock_write import ConverseWriter, build_reply
from llmlens.wire.dialect import ChatDialect
from llmlens.wire.raw import passed_through

# No end marks: the last event may be cut anywhere, and what follows its name is as long as a guardrail's trace.
BEDROCK_CONVERSE = ChatDialect(
    name=NAME,
    operation="chat",
    read_request=read_request,
    read_reply=read_reply,
    fault_body=fault_body,
    prompt_texts=prompt_texts,
    stream_reader=ConverseReader,
    fault_event=fault_event,
    read_path=read_path,
    from_headers=reply_with_headers,
    telling_headers=TELLING_HEADERS,
    stream_types=frozenset({MEDIA_TYPE}),
    parse_request=parse_request,
    build_request=build_request,
    build_reply=build_reply,
    stream_writer=ConverseWriter,
    call_path=converse_path,
    writes=MEDIA_TYPE,
)

RAW_BEDROCK = replace(
    passed_through("raw", "raw", fault_body), from_headers=reply_with_headers, telling_headers=TELLING_HEADERS
)
