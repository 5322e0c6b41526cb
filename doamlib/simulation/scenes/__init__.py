"""From items to an annotated image: placing, occlusion, quotas of levels, rendering."""
