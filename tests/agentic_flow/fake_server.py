"""A tiny MCP server for what the real one can't be brought to do: hang, or speak differently.

Run as the store's "node" would run agentdb: ``python fake_server.py``. ``behaviour.json`` beside
it, read at each call, says per tool what to ``say``, or to ``hang``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

EPISODES: dict[int, str] = {}
BEHAVIOUR = Path(sys.argv[0]).with_name("behaviour.json")


def counts() -> str:
    n = len(EPISODES)
    return (
        "📊 Database Statistics:\n\nCausal Edges: 0\nExperiments: 0\nObservations: 0\n"
        f"Episodes (Vectors): {n}\nEpisode Embeddings: {n}\nSkills: 0"
    )


def listing() -> str:
    entries = (
        f"{i}. Episode {row}\n   Task: {task}\n   Reward: 0.50\n   Similarity: 0.100"
        for i, (row, task) in enumerate(EPISODES.items(), 1)
    )
    return f"🔍 Retrieved {len(EPISODES)} episodes:\n\n" + "\n\n".join(entries)


def store(arguments: dict[str, Any]) -> str:
    EPISODES[len(EPISODES) + 1] = arguments["task"]
    return f"✅ Stored episode #{len(EPISODES)}\nTask: {arguments['task']}"


def answer(tool: str, arguments: dict[str, Any]) -> str | None:
    special = json.loads(BEHAVIOUR.read_text()).get(tool, {})
    if special.get("hang"):
        return None
    if "say" in special:
        return str(special["say"])
    if tool == "reflexion_store":
        return store(arguments)
    return counts() if tool == "db_stats" else listing()


def reply(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    if method == "initialize":
        info = {"name": "fake", "version": "1"}
        version = params["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": []}
    if method == "tools/call":
        text = answer(params["name"], params.get("arguments", {}))
        return None if text is None else {"content": [{"type": "text", "text": text}]}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        result = reply(message["method"], message.get("params", {}))
        if result is not None:
            answered = {"jsonrpc": "2.0", "id": message["id"], "result": result}
            sys.stdout.write(json.dumps(answered) + "\n")
            sys.stdout.flush()
