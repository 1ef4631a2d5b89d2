"""RTSP server for the tests. The system's Python runs it, because only this Python has the GStreamer bindings.

/usr/bin/python3 rtsp_server.py [PORT]                      serves a test pattern, 30 frames per second
/usr/bin/python3 rtsp_server.py PORT WIDTH HEIGHT RATE      serves the raw frames (I420) from standard input

The server prints its port (PORT 0 selects a free one), then serves rtsp://127.0.0.1:PORT/camera until it is killed.
"""

import sys
import threading
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PATTERN = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1 ! x264enc key-int-max=15"
RAW = (
    "appsrc name=frames is-live=true format=time do-timestamp=true "
    "caps=video/x-raw,format=I420,width={},height={},framerate={}/1 ! x264enc speed-preset=ultrafast key-int-max={}"
)
SENDING = "tune=zerolatency ! rtph264pay config-interval=-1 name=pay0"

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1] if len(sys.argv) > 1 else "0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_shared(True)
inputs: list[Any] = []
loop = GLib.MainLoop()


def configured(_: object, media: Any) -> None:
    """Send the frames to the pipeline of the newest client from now on."""
    inputs[:] = [media.get_element().get_by_name("frames")]


def pump(frame_bytes: int) -> None:
    """Push the frames from standard input into the pipeline, if there is one.

    The server ends at the end of the input.
    """
    while len(frame := sys.stdin.buffer.read(frame_bytes)) == frame_bytes:
        for source in inputs:
            source.emit("push-buffer", Gst.Buffer.new_wrapped(frame))
    loop.quit()


if len(sys.argv) > 2:
    width, height, rate = (int(text) for text in sys.argv[2:5])
    factory.set_launch(f"( {RAW.format(width, height, rate, rate)} {SENDING} )")
    factory.connect("media-configure", configured)
    threading.Thread(target=pump, args=(width * height * 3 // 2,), daemon=True).start()
else:
    factory.set_launch(f"( {PATTERN} {SENDING} )")
server.get_mount_points().add_factory("/camera", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
loop.run()
