"""What people and machines manage the daemon with: the management API and the documentation pages.

Owns the routes under `/admin`, their guard, and the pages that show the OpenAPI document. Does not
own the models (that is `reload`) nor how requests reach them (that is `gateway`).
"""
