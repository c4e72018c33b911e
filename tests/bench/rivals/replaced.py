"""The design that this project replaces: FastAPI, transformers, fp32, padded, one at a time."""

import os
import threading

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

LENGTH = 128  # tokens

folder = os.environ["CHECKPOINT"]
tokenizer = PreTrainedTokenizerFast(
    tokenizer_file=f"{folder}/tokenizer.json", pad_token="[PAD]", model_max_length=LENGTH
)
model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
one_at_a_time = threading.Lock()


class Tweet(BaseModel):
    text: str


class Tweets(BaseModel):
    instances: list[Tweet]


app = FastAPI()


@torch.no_grad()
def classify(text: str) -> dict[str, object]:
    inputs = tokenizer(text, padding="max_length", truncation=True, return_tensors="pt")
    with one_at_a_time:
        logits = model(inputs["input_ids"], inputs["attention_mask"]).logits
    probability = float(torch.softmax(logits, dim=-1)[0, 1])
    return {
        "label": "disaster" if probability >= 0.5 else "not_disaster",
        "probability": probability,
    }


@app.post("/predict")
def predict(request: Tweet | Tweets) -> dict[str, object]:
    if isinstance(request, Tweet):
        return classify(request.text)
    return {"predictions": [classify(tweet.text) for tweet in request.instances]}


@app.get("/health")
async def health() -> str:
    return "ok"


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), access_log=False)
