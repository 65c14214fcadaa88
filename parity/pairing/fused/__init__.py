"""Layers that one side has in one and the other side has apart: attention, and fused dense layers."""
