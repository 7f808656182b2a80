"""LangGraph graphs of the writing tasks: an outline from a prompt, a document from an outline.

    graphs, prompts     entry points and the graph of one draft; system prompts
    outline, sources    schema of an outline; passages of the context files, and the tools
    chat_model          the model that CHAT_MODEL names, or the offline model
    offline_model       scripted chat model without key or network
    exceptions          errors

Requires the extra `langgraph`. Imports neither Django nor other modules of jobs/ and events/.
"""
