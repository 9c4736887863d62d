// The same entity in PocketBase: open to everybody, and without the log of requests, as for all peers.
migrate((app) => {
  const settings = app.settings();
  settings.logs.maxDays = 0;
  app.save(settings);
  app.save(new Collection({
    type: "base",
    name: "products",
    listRule: "",
    viewRule: "",
    createRule: "",
    updateRule: "",
    deleteRule: "",
    fields: [
      { type: "text", name: "sku", required: true, max: 40 },
      { type: "text", name: "name", required: true, min: 1, max: 80 },
      { type: "number", name: "price", required: true, min: 0 },
      { type: "number", name: "quantity", min: 0, onlyInt: true },
      { type: "bool", name: "active" },
      { type: "text", name: "description" },
      { type: "autodate", name: "created", onCreate: true },
      { type: "autodate", name: "updated", onCreate: true, onUpdate: true },
    ],
    indexes: ["CREATE UNIQUE INDEX products_sku ON products (sku)"],
  }));
});
