"""One file per resource: the shape in, the service's rule, the shape out."""
