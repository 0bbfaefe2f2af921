"""From head motion to images: head crops, head pose and expression, keypoints, the renderer, identity and lip-reading losses."""
